"""The students of an experiment and their teachers on a trial list: means over seeds, and what differs."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from spkdistill.report.contents import Comparison, ExperimentModel, Interval, Report, System, reductions
from spkdistill.report.summary import shared_priors


@dataclass(frozen=True)
class Row:
    """A group of students that differ in their seeds alone, or a teacher, which has no `place`."""

    name: str
    teacher: str
    place: ExperimentModel | None
    eer: Interval  # means over the seeds
    seed_eers: list[float]
    min_dcf: float
    parameters: int
    smaller: tuple[float, float] | None = None  # than the teacher without, and with, its head
    ratio: float | None = None  # of the EER to the teacher's
    against_teacher: Comparison | None = None
    against_none: Comparison | None = None  # the same student trained without a teacher
    reference: Comparison | None = None  # the experiment's reference against this student


def rows(report: Report, experiment: str, trials: str) -> list[Row]:
    """The teachers of an experiment, then its students in its order."""
    settings = report.settings.experiments[experiment]
    places, backend = settings.students, settings.backend
    first = {place.group: place for place in reversed(places)}
    teachers = dict.fromkeys(place.teacher for place in places)
    groups = dict.fromkeys(place.group for place in places)
    tests = {test.baseline.model: test for test in report.references[experiment] if test.trials == trials}
    return [teacher_row(report, name, backend, trials) for name in teachers] + [
        student_row(report, first[group], backend, trials, tests.get(group)) for group in groups
    ]


def teacher_row(report: Report, name: str, backend: str, trials: str) -> Row:
    """A teacher."""
    return Row(name, name, None, *rates(report, [name], backend, trials), report.costs[name].parameters)


def student_row(
    report: Report, place: ExperimentModel, backend: str, trials: str, reference: Comparison | None
) -> Row:
    """A group of students, all seeds of it that the run has."""
    system = System(place.model, backend)
    teacher = report.metrics[place.teacher, system.backend, trials].eer.value
    figures = rates(report, report.members(place.group), backend, trials)
    baseline = report.settings.models[place.model].baseline
    return Row(
        *(place.group, place.teacher, place, *figures, report.costs[place.model].parameters),
        smaller=reductions(report.costs[place.model], report.costs[place.teacher]),
        ratio=figures[0].value / teacher if teacher else None,
        against_teacher=report.comparison(trials, system, place.teacher),
        against_none=report.comparison(trials, system, baseline) if baseline else None,
        reference=reference,
    )


def rates(
    report: Report, models: list[str], backend: str, trials: str
) -> tuple[Interval, list[float], float]:
    """The mean EER of some models with the means of the ends of its interval, each EER, the mean minDCF."""
    prior = shared_priors(report)[0]
    measured = [report.metrics[name, backend, trials] for name in models]
    ends = zip(*((rate.eer.value, rate.eer.low, rate.eer.high) for rate in measured), strict=True)
    return (
        Interval(*map(fmean, ends)),
        [rate.eer.value for rate in measured],
        fmean(rate.min_dcf[prior].value for rate in measured),
    )


Setting = Callable[[ExperimentModel], Any]


def differing(places: Sequence[ExperimentModel]) -> dict[str, Setting]:
    """The settings that tell the students of an experiment apart, by the heading of their column."""
    settings: dict[str, Setting] = {
        "Student": lambda place: place.student,
        "Teacher": lambda place: place.teacher,
        "Learns": learns,
        "Form": lambda place: place.form,
        "Targets of": lambda place: place.targets_of,
        "Mean norm.": lambda place: place.mean_norm,
    }
    for key in varied(places):
        if key not in ("targets", "form", "targets_of", "mean_norm"):  # which are there by other names
            settings[key] = lambda place, key=key: place.vary.get(key)
    return {
        name: setting
        for name, setting in settings.items()
        if len({spelt(setting(place)) for place in places} - {""}) > 1  # a student may lack a setting
    }


def varied(places: Sequence[ExperimentModel]) -> list[str]:
    """The keys that an experiment varies."""
    return list(dict.fromkeys(key for place in places for key in place.vary))


def learns(place: ExperimentModel) -> str:
    """What a student learns from: its targets, or else the name of its objective in the config."""
    return " + ".join(place.targets) if place.objective == "multilevel" else place.method


def spelt(value: Any) -> str:
    """A setting as text; nothing where there is none."""
    if isinstance(value, list | tuple):
        return " + ".join(map(spelt, value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "" if value is None else value if isinstance(value, str) else json.dumps(value)
