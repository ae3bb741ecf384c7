"""The models of a config: its students crossed with what each experiment varies, each model once."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import product
from math import prod
from typing import Any

from spkdistill.errors import ConfigError

MOST_MODELS = 1_000  # the paths of more do not fit on a command line
LONGEST_NAME = 200  # characters of a model's name; a file name has 255


def cross(config: dict[str, Any]) -> None:
    """Replace `students` by the models to train; give each of the `experiments` the names of its `models`.

    A config without experiments has that of every student with each of its objectives. Raises ConfigError for
    two models of one name, or one too long for a file. The config is checked, its defaults filled in.
    """
    students, known = {}, {}
    for name, experiment in (config["experiments"] or {"": {"vary": {}}}).items():
        models = dict(combinations(config, experiment))
        where = f"experiments.{name}" if name else "students"
        for model, settings in models.items():
            if len(model) > LONGEST_NAME:
                raise ConfigError(
                    f"{where}: the name of a model, {model[:40]}..., would have {len(model)} characters; "
                    f"there may be {LONGEST_NAME}, shorten names or vary less"
                )
            whatever_seed = {**settings, "seed": None}
            for called in (model, settings["group"]):
                if known.setdefault(called, whatever_seed) != whatever_seed:
                    raise ConfigError(
                        f"{where}: two models would be called {called!r}; "
                        "rename a student, a teacher or an objective"
                    )
        experiment["models"] = list(models)
        students |= models
    config["students"] = students
    for name in config["experiments"]:
        check_reference(config, name)


def check_reference(config: Mapping[str, Any], name: str) -> None:
    """Raise a ConfigError for a reference that no student of an experiment has, or all have."""
    experiment = config["experiments"][name]
    if "reference" not in experiment:
        return
    reference, where = experiment["reference"], f"experiments.{name}.reference"
    if isinstance(reference, dict):
        ((key, value),) = reference.items()
        if value not in experiment["vary"].get(key, []):
            raise ConfigError(f"{where}: {key}={json.dumps(value)} is not among what `vary` has")
        if not reference_pairs(config, name):
            raise ConfigError(f"{where}: no two students differ in {key!r} alone; nothing is to be tested")
        return
    methods = dict.fromkeys(config["students"][model]["method"] for model in experiment["models"])
    if reference not in methods:
        raise ConfigError(
            f"{where}: no student of it is trained by {reference!r}; its methods are {', '.join(methods)}"
        )
    if not reference_pairs(config, name):
        raise ConfigError(
            f"{where}: no student is trained by {reference!r} and by another method; nothing is to be tested"
        )


def check_number(config: dict[str, Any]) -> None:
    """Raise a ConfigError for experiments of more models than anyone can train."""
    size = sum(combined(config, experiment) for experiment in config["experiments"].values())
    if size > MOST_MODELS:
        raise ConfigError(f"experiments: {size} combinations; there may be {MOST_MODELS}, leave some out")


def combined(config: dict[str, Any], experiment: dict[str, Any]) -> int:
    """How many models an experiment has at most."""
    choices = [experiment.get(key, config[key]) for key in ("students", "objectives")]
    choices += [experiment.get(key, [None]) for key in ("teachers", "seeds")]
    return prod(map(len, [*choices, *experiment["vary"].values()]))


def combinations(config: dict[str, Any], experiment: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The name and settings of each model of an experiment; a key is varied in the models that have it.

    A student that learns from no teacher is the same beside every teacher: it keeps its own.
    """
    for name in experiment.get("students", config["students"]):
        student = config["students"][name]
        for teacher, objective, *values, seed in product(
            experiment.get("teachers", [student["teacher"]]),
            experiment.get("objectives", student["objectives"]),
            *experiment["vary"].values(),
            experiment.get("seeds", [config["seed"]]),
        ):
            varied = dict(zip(experiment["vary"], values, strict=True))
            distil = config["objectives"][objective]
            if distil["objective"] == "none":
                teacher = student["teacher"]
            model_parts, model = changed(student["model"], varied)
            training_parts, training = changed(student["training"], varied)
            distil_parts, distil = changed(distil, varied)
            own = teacher == student["teacher"]
            of_student = [name, *model_parts, *training_parts, *([] if own else [teacher])]
            group = "-".join([*of_student, objective, *distil_parts])
            yield (
                group if seed == config["seed"] else f"{group}-s{seed}",
                {
                    "student": name,
                    "method": "-".join([objective, *distil_parts]),
                    "group": group,
                    "seed": seed,
                    "teacher": teacher,
                    "features": student["features"],
                    "model": model,
                    "head": student["head"],
                    "training": training,
                    "distil": distil,
                },
            )


System = tuple[str, tuple[str, ...]]  # in a paired test: its name, and the groups that it is the mean over


def reference_pairs(config: Mapping[str, Any], name: str) -> list[tuple[System, System]]:
    """The reference of an experiment with each other method: for every student, and over all that have both.

    Students are told apart by their model, training and teacher too; one without a teacher stands beside
    every teacher. Where the reference is a value of what is varied: each student that has it with each that
    has another and is the same otherwise. The config is one whose students are crossed.
    """
    experiment = config["experiments"][name]
    members = [config["students"][model] for model in experiment["models"]]
    if isinstance(experiment["reference"], dict):
        return setting_pairs(members, *experiment["reference"].items())
    teachers = {member["teacher"] for member in members}
    groups: dict[str, dict[tuple[str, ...], str]] = {}
    for member in members:
        beside = teachers if member["distil"]["objective"] == "none" else [member["teacher"]]
        for teacher in beside:
            place = member["student"], *map(json.dumps, (member["model"], member["training"])), teacher
            groups.setdefault(member["method"], {})[place] = member["group"]
    reference = experiment["reference"]
    of_reference = groups.pop(reference)
    pairs = []
    for method, of_method in groups.items():
        both = [(of_reference[place], of_method[place]) for place in of_reference if place in of_method]
        pairs += [((one, (one,)), (other, (other,))) for one, other in both]
        if len(both) > 1:
            ones, others = zip(*both, strict=True)
            pairs.append(((f"{name}:{reference}", ones), (f"{name}:{method}", others)))
    return pairs


def setting_pairs(
    members: Iterable[Mapping[str, Any]], reference: tuple[str, Any]
) -> list[tuple[System, System]]:
    """Groups that have a value of a setting, each with those that have another and are the same otherwise."""
    key, value = reference
    alike: dict[str, dict[str, Any]] = {}
    for member in members:
        parts = [member[part] for part in ("model", "training", "distil")]
        for found in [part[key] for part in parts if key in part][:1]:
            rest = [{name: part[name] for name in part if name != key} for part in parts]
            place = json.dumps([member["student"], member["teacher"], rest])
            alike.setdefault(place, {})[member["group"]] = found
    return [
        ((one, (one,)), (other, (other,)))
        for groups in alike.values()
        for one, other in product(groups, repeat=2)
        if groups[one] == value != groups[other]
    ]


def changed(settings: Mapping[str, Any], varied: Mapping[str, Any]) -> tuple[list[str], dict[str, Any]]:
    """What of `varied` is new to the settings, as parts of a name, and the settings with it."""
    new = {key: value for key, value in varied.items() if key in settings and value != settings[key]}
    return [key + written(value) for key, value in new.items()], {**settings, **new}


def written(value: Any) -> str:
    """A setting as it stands in the name of a model: [5, 3] is 5_3."""
    return re.sub(r"[^A-Za-z0-9.-]+", "_", json.dumps(value)).strip("_")
