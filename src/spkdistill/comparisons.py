"""What is tested against what: students, the methods of an experiment, back-ends that derive from others.

Configs are complete, their students crossed (`experiments.cross`). A group is a student's trainings, which
differ in their seed alone.
"""

import json
from collections.abc import Collection, Iterable, Mapping
from itertools import product
from typing import Any

Config = Mapping[str, Any]
System = tuple[str, tuple[str, ...]]  # in a paired test: its name, and the groups that it is the mean over


def group_of(config: Config, model: str) -> str:
    """The group of a student; a teacher is one of its own."""
    return config["students"][model]["group"] if model in config["students"] else model


def student_pairs(config: Config, models: Iterable[str]) -> list[tuple[System, System]]:
    """Each of some students with itself without a teacher, if that is one of them, and with its teacher."""
    students = {group_of(config, model): model for model in models}
    return [
        ((group, (group,)), (other, (other,)))
        for group, student in students.items()
        for other in (baseline(config, student, students), config["students"][student]["teacher"])
        if other
    ]


def baseline(config: Config, student: str, groups: Collection[str]) -> str | None:
    """The one of some groups that is the same student trained without a teacher, if there is."""
    settings = config["students"][student]
    same = "student", "model", "training"
    for other in config["students"].values():
        if (
            all(other[key] == settings[key] for key in same)
            and other["distil"]["objective"] == "none"
            and other["group"] != settings["group"]
            and other["group"] in groups
        ):
            return other["group"]
    return None


def reference_pairs(config: Config, name: str) -> list[tuple[System, System]]:
    """The reference of an experiment with each other method: for every student, and over all that have both.

    Students are told apart by their model, training and teacher too; one without a teacher stands beside
    every teacher. Where the reference is a value of what is varied: each student that has it with each that
    has another and is the same otherwise.
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


def derived_backends(config: Config) -> list[tuple[str, str]]:
    """Back-ends that change another's scores, each with that one: the first of its kind, or what it fuses.

    A fusion of one, which calibrates it, keeps the order of its scores: there is nothing to test.
    """
    pairs, first = [], {}
    for name, settings in config["backends"].items():
        if settings["kind"] == "fusion":
            fused = settings["systems"]
            pairs += [(name, system) for system in fused if len(fused) > 1]
        elif name != first.setdefault(settings["kind"], name):
            pairs.append((name, first[settings["kind"]]))
    return pairs
