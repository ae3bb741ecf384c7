"""The models of a config: its students crossed with what each experiment varies, each model once."""

import json
import re
from collections.abc import Iterator, Mapping
from itertools import product
from math import prod
from typing import Any

from spkdistill.comparisons import reference_pairs
from spkdistill.errors import ConfigError

MOST_MODELS = 1_000  # the paths of more do not fit on a command line
LONGEST_NAME = 200  # characters of a model's name; a file name has 255


def cross(config: dict[str, Any]) -> None:
    """Replace `students` by the models to train; give each of the `experiments` the names of its `models`.

    A config without experiments has that of every student with each of its objectives. Raises ConfigError for
    two models of one name, or one too long for a file. The config is checked, its defaults filled in.
    """
    students, known = {}, {}
    for name, experiment in grids(config).items():
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


def grids(config: Mapping[str, Any]) -> dict[str, Any]:
    """The experiments; without any, that of every student with each of its objectives, which has no name."""
    return config["experiments"] or {"": {"vary": {}}}


def check_number(config: Mapping[str, Any]) -> None:
    """Raise a ConfigError for more models than anyone can train."""
    size = sum(combined(config, experiment) for experiment in grids(config).values())
    if size > MOST_MODELS:
        where = "experiments" if config["experiments"] else "students"
        raise ConfigError(f"{where}: {size} combinations; there may be {MOST_MODELS}, leave some out")


def combined(config: Mapping[str, Any], experiment: Mapping[str, Any]) -> int:
    """How many models an experiment has at most."""
    students = [config["students"][name] for name in experiment.get("students", config["students"])]
    learnt = sum(len(experiment.get("objectives", student["objectives"])) for student in students)
    choices = [experiment.get(key, [None]) for key in ("teachers", "seeds")]
    return learnt * prod(map(len, [*choices, *experiment["vary"].values()]))


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


def changed(settings: Mapping[str, Any], varied: Mapping[str, Any]) -> tuple[list[str], dict[str, Any]]:
    """What of `varied` is new to the settings, as parts of a name, and the settings with it."""
    new = {key: value for key, value in varied.items() if key in settings and value != settings[key]}
    return [key + written(value) for key, value in new.items()], {**settings, **new}


def written(value: Any) -> str:
    """A setting as it stands in the name of a model: [5, 3] is 5_3."""
    return re.sub(r"[^A-Za-z0-9.-]+", "_", json.dumps(value)).strip("_")
