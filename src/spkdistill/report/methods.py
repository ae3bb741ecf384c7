"""Methods compared over the students of an experiment: what each gains, its rank, and paired tests."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np
from scipy.stats import rankdata

from spkdistill.distill.parts import EMBEDDING_OPTIONS
from spkdistill.files import write_tsv
from spkdistill.report.contents import Comparison, ExperimentModel, Report, System
from spkdistill.report.experiment_rows import Row, rows
from spkdistill.report.html import Markup, cell, element, figure, heading, join, number, table
from spkdistill.report.numbers import percent, unbroken
from spkdistill.report.plots import PALETTE, PLAIN, STYLE, TEACHER, grid, svg
from spkdistill.report.sentences import SIGNIFICANT, plural
from spkdistill.report.tables import test_cell

COLUMNS = [
    *("method", "students", "trials", "eer", "gain", "rank"),  # eer: mean over students
    *("reference", "difference", "low", "high", "p_value", "p_holm"),  # the reference less the method
]
NOTE = (
    "Means over {}, each a network with its teacher. Gain: what a method takes off the EER of "
    "the same student without a teacher, of the mean over trial lists, and of that the mean over "
    "students (as arXiv 2601.14699). Rank: mean over students and trial lists; 1 is the lowest EER."
)
AGAINST = (
    " Against {0}: the EER of {0} less that of the method in percentage points, below zero where {0} "
    "is better, p in a paired test of the means over students, and Holm p of all tests of {0} on a "
    "trial list."
)
AIM = 0.187  # what TRKD takes off the EER without a teacher, on average over six pairs (arXiv 2601.14699)
CAPTION = "EER over that of the same student without a teacher: a dot is a student, the line the mean."
NONE = "none"


@dataclass(frozen=True)
class Method:
    """A method over all students of an experiment, arrays (students, trial lists)."""

    name: str
    eers: np.ndarray  # means over seeds
    gain: float | None  # None where the experiment trains no student without a teacher
    rank: float
    against: list[Comparison | None]  # the reference less this method, on each trial list


def methods(report: Report, experiment: str, found: Mapping[str, list[Row]]) -> list[Method]:
    """The methods that train every student of an experiment; `found` are its rows by trial list."""
    of_students = [row for of_list in found.values() for row in of_list if row.place]
    eers: dict[str, dict[tuple[str, ...], list[float]]] = {}
    for row in of_students:
        of_method = eers.setdefault(row.place.method, {})
        beside = {other.teacher for other in of_students} if row.place.objective == NONE else [row.teacher]
        for teacher in beside:
            of_method.setdefault((teacher, *network_of(row.place)), []).append(row.eer.value)
    students = {student for name, of_method in eers.items() if name != NONE for student in of_method}
    arrays = {
        name: np.array([of_method[student] for student in sorted(students)])
        for name, of_method in eers.items()
        if of_method.keys() >= students
    }
    if len(arrays) < 2:
        return []
    ranks = rankdata(list(arrays.values()), axis=0).mean(axis=(1, 2))
    return [
        Method(name, of_method, gain(of_method, arrays.get(NONE)), rank, against(report, experiment, name))
        for (name, of_method), rank in zip(arrays.items(), ranks, strict=True)
    ]


def network_of(place: ExperimentModel) -> tuple[str, ...]:
    """What tells the network of a student from others, whatever it learns by."""
    own = place.vary.keys() - place.options.keys() - set(EMBEDDING_OPTIONS)
    return (place.student, *(f"{key}={place.vary[key]}" for key in sorted(own)))


def gain(eers: np.ndarray, without: np.ndarray | None) -> float | None:
    """1 - mean over trial lists / that of `without`, the mean over students; both (students, trial lists)."""
    if without is None or not without.all():
        return None
    return float(np.mean(1 - eers.mean(axis=1) / without.mean(axis=1)))


def against(report: Report, experiment: str, method: str) -> list[Comparison | None]:
    """The reference of an experiment tested against a method over all students, on each trial list.

    Where there is one student, its test is that of all.
    """
    settings = report.settings.experiments[experiment]
    groups = {place.group for place in settings.students if place.method == method}
    of_method = {f"{experiment}:{method}"} | (groups if len(groups) == 1 else set())
    baselines = [System(name, settings.backend) for name in of_method]
    tests = {test.trials: test for test in report.references[experiment] if test.baseline in baselines}
    return [tests.get(trials) for trials in report.settings.trials]


def write_methods(report: Report, experiment: str, path: Path) -> None:
    """Write the methods of an experiment on each trial list; shares of 1, empty what does not apply."""
    found = {trials: rows(report, experiment, trials) for trials in report.settings.trials}
    reference = report.settings.experiments[experiment].reference
    written = []
    for method in methods(report, experiment, found):
        mean = method.eers.mean(axis=0)
        for trials, eer, test in zip(report.settings.trials, mean, method.against, strict=True):
            fields = [method.name, str(len(method.eers)), trials, f"{eer:.6f}"]
            fields += ["" if method.gain is None else f"{method.gain:.6f}", f"{method.rank:.4f}"]
            if test:
                ends = test.difference
                values = (ends.value, ends.low, ends.high, test.p_value, test.p_holm)
                fields += [reference, *(f"{value:.6f}" for value in values)]
            written.append(fields + [""] * (len(COLUMNS) - len(fields)))
    write_tsv(path, COLUMNS, written)


def comparison(report: Report, experiment: str, found: Mapping[str, list[Row]]) -> Markup | None:
    """The methods of an experiment as a figure and a table; None where there is nothing to compare."""
    compared = methods(report, experiment, found)
    if not compared:
        return None
    asked = report.settings.experiments[experiment].reference
    reference = asked if asked in {method.name for method in compared} else None
    note = NOTE.format(plural(len(compared[0].eers), "student"))
    note += AGAINST.format(reference) if reference else ""
    names = report.settings.trials
    header = [
        heading("Method"),
        *(heading(f"{name}, EER %", "mean over students", "number") for name in names),
        heading("Gain", "of the EER without a teacher", "number"),
        heading("Rank", "mean", "number"),
        *(
            heading(f"{reference} − it, {name}", "difference, p, Holm p", "number")
            for name in names
            if reference
        ),
    ]
    order = sorted(compared, key=lambda method: method.eers.mean())
    places = report.settings.experiments[experiment].students
    triage = {place.method for place in places if is_triage(place)}
    told = [
        gains_sentence(order, reference),
        *gain_intervals(compared, reference, names),
        *triage_aim([each for each in compared if each.name in triage], reference),
    ]
    told += tests_sentences(compared, reference, names)
    return join(
        element("h4", f"{experiment}, methods over all students"),
        element("ul", *(element("li", unbroken(sentence)) for sentence in told)),
        element("p", unbroken(note), cls="note"),
        figure(plot(experiment, compared, names), CAPTION) if compared[0].gain is not None else None,
        table(header, [method_row(method, bool(reference)) for method in order]),
    )


def gains_sentence(order: list[Method], reference: str | None) -> str:
    """The best method on average, and how the reference does; `order` is by mean EER."""
    told = [f"Lowest EER on average: {gained(order[0])}."]
    told += [f"{gained(method)}." for method in order[1:] if method.name == reference]
    return " ".join(told)


def gain_intervals(compared: list[Method], reference: str | None, names: Sequence[str]) -> list[str]:
    """What the reference takes off the mean EER of the students without a teacher, on each trial list."""
    tests = next((method.against for method in compared if method.name == NONE), [None] * len(names))
    told = [
        f"{name} {percent(test.gain.value, 1)} [{percent(test.gain.low, 1)}, {percent(test.gain.high, 1)}]"
        for name, test in zip(names, tests, strict=True)
        if test and not math.isnan(test.gain.value)
    ]
    if not told:
        return []
    return [f"Off the mean EER of all students without a teacher {reference} takes: {', '.join(told)}."]


def is_triage(place: ExperimentModel) -> bool:
    """Whether a student learns by TRKD itself, with both of its terms, and no variant of its ablation."""
    if place.objective != "trkd":
        return False
    terms = place.options["mass_term"], place.options["class_term"]
    weights = [place.options[f"lambda_{term}"] > 0 for term in "mfb"]
    return terms == ("tmkd", "cfkd") and weights == [True, True, False]


def triage_aim(triage: list[Method], reference: str | None) -> list[str]:
    """Whether TRKD gains what its paper reports: the reference, or else the first of its settings.

    The best setting is named beside it, as it was chosen on the trials that it is measured on.
    """
    gains = {method.name: method.gain for method in triage if method.gain is not None}
    if not gains:
        return []
    judged = reference if reference in gains else next(iter(gains))
    verdict = "reached" if gains[judged] >= AIM else "missed"
    told = [
        f"The aim of TRKD, {percent(AIM, 1)} below the students without a teacher: {verdict} by {judged}, "
        f"with a gain of {percent(gains[judged], 1)}."
    ]
    best = max(gains, key=gains.__getitem__)
    if best != judged:
        told.append(
            f"The best of {plural(len(gains), 'setting')} of TRKD on these trials, which is no choice for "
            f"others, is {best} with a gain of {percent(gains[best], 1)}."
        )
    return told


def gained(method: Method) -> str:
    """A method with its gain."""
    if method.gain is None or method.name == NONE:
        return method.name
    change = f"{percent(abs(method.gain), 1)} {'below' if method.gain >= 0 else 'above'}"
    return f"{method.name}, {change} the students without a teacher"


def tests_sentences(compared: list[Method], reference: str | None, names: Sequence[str]) -> list[str]:
    """How many methods the reference differs from, on each trial list."""
    told = []
    for index, name in enumerate(names):
        tests = [method.against[index] for method in compared if method.against[index]]
        differ = [test.difference.value for test in tests if test.p_holm < SIGNIFICANT]
        better, worse = sum(value < 0 for value in differ), sum(value > 0 for value in differ)
        if tests:
            told.append(
                f"{name}: {reference} is significantly better than {better} of {len(tests)} other methods, "
                f"and worse than {worse} (paired, over all students, Holm's method)."
            )
    return told


def method_row(method: Method, tested: bool) -> Markup:
    """A row of the table."""
    return element(
        "tr",
        cell(method.name),
        *(number(f"{100 * eer:.2f}", eer) for eer in method.eers.mean(axis=0)),
        cell("", -9) if method.gain is None else number(percent(method.gain, 1), method.gain),
        number(f"{method.rank:.2f}", method.rank),
        *(test_cell(test) for test in method.against if tested),
    )


def plot(experiment: str, compared: list[Method], names: Sequence[str]) -> Markup:
    """A panel for each trial list, a line for each method that learns from a teacher."""
    without = next(method.eers for method in compared if method.name == NONE)
    learning = [method for method in compared if method.name != NONE]
    with matplotlib.rc_context(STYLE):
        drawing, panels = grid(len(names), min(len(names), 2), 0.22 * len(learning) + 0.8, share_y=True)
        for index, (axes, name) in enumerate(zip(panels, names, strict=True)):
            for line, method in enumerate(learning):
                ratios = method.eers[:, index] / without[:, index]
                axes.plot(ratios, [line] * len(ratios), "o", color=PALETTE[0], markersize=4, alpha=0.6)
                axes.plot([ratios.mean()] * 2, [line - 0.35, line + 0.35], color=TEACHER, linewidth=1.6)
            axes.axvline(1, color=PLAIN, linewidth=1)
            axes.set_yticks(range(len(learning)), [method.name for method in learning])
            axes.set(title=name, ylim=(len(learning) - 0.5, -0.5), xlabel="EER over that without a teacher")
            axes.grid(axis="x")
        return svg(drawing, f"methods-{experiment}", f"The methods of {experiment} over all students")
