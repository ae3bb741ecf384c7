"""The page's tables: results, paired comparisons, models, data."""

import json
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any

from spkdistill.report.contents import ROLES, Comparison, Interval, ModelSettings, Report, System
from spkdistill.report.html import Markup, cell, details, element, heading, join, number, table
from spkdistill.report.numbers import count, percent, points, probability, unbroken
from spkdistill.report.plots import PLAIN, colours
from spkdistill.report.sentences import SIGNIFICANT, verdict
from spkdistill.report.summary import shared_priors

BREAK = Markup("<br>")
LISTED = 200  # rejected entries shown for each file
SORTABLE = "Click a column's heading to sort by it."
KINDS = "Against the same student without a teacher", "Against the teacher", "Against another model"
REDUCTIONS = (
    heading("Smaller", "than the teacher without its head", "number"),
    heading(join("… with", BREAK, "head"), "than the teacher counted with its head", "number"),
)


@dataclass(frozen=True)
class Scale:
    """The scale on which a table draws its intervals: from low to high, with a dotted line at `rule`."""

    low: float
    high: float
    rule: float | None

    def bar(self, interval: Interval, colour: str) -> Markup:
        """An interval as a line, its value as a dot."""
        low, value, high = (f"{self.place(x):.1f}" for x in (interval.low, interval.value, interval.high))
        rule = ""
        if self.rule is not None:
            rule = f'<path d="M{self.place(self.rule):.1f} 0V16" stroke="#999" stroke-dasharray="2 2"/>'
        return Markup(
            f'<svg width="120" height="16" viewBox="0 0 120 16" aria-hidden="true">{rule}'
            f'<path d="M{low} 8H{high}" stroke="{colour}" stroke-width="2" stroke-opacity=".6"/>'
            f'<circle cx="{value}" cy="8" r="3.6" fill="{colour}"/></svg>'
        )

    def place(self, value: float) -> float:
        """Where a value stands in the 120 units of the drawing."""
        return 4 + 112 * (value - self.low) / max(self.high - self.low, 1e-9)


def scale_of(intervals: Iterable[Interval], rule: float | None) -> Scale:
    """A scale on which all the intervals and the rule fit."""
    ends = [end for interval in intervals for end in (interval.low, interval.high, interval.value)]
    ends += [] if rule is None else [rule]
    return Scale(min(ends), max(ends), rule)


def results(report: Report) -> Markup:
    """For each trial list every model with its best back-end and, folded away, with every back-end."""
    note = (
        "A row is a model with the back-end of its lowest EER; among all back-ends, that is bold. " + SORTABLE
    )
    parts = [element("p", note, cls="note")]
    for trials in report.settings.trials:
        parts += [
            element("h3", f"Trial list {trials}"),
            *results_tables(report, trials),
            seeds_table(report, trials),
        ]
    return join(*parts)


def seeds_table(report: Report, trials: str) -> Markup | None:
    """A row for each group of several seeds, with the back-end of its lowest mean EER; folded away."""
    groups = [group for group in report.groups if report.several(group)]
    if not groups:
        return None
    header = [
        *(heading("Model"), heading("Back-end"), heading("Seeds", cls="number")),
        heading("Mean EER, %", cls="number"),
        heading("Lowest – highest", cls="number"),
        heading("Deviation", "standard deviation between the seeds, percentage points", "number"),
    ]
    rows = [seeds_row(report, report.best_of_group(group, trials), trials) for group in groups]
    return details("Means over seeds", table(header, rows))


def seeds_row(report: Report, system: System, trials: str) -> Markup:
    """One group in the table of means over seeds."""
    eers = [100 * eer for eer in report.seed_eers(system, trials)]
    return element(
        "tr",
        *(model_cell(report, system.model), cell(system.backend), number(str(len(eers)), len(eers))),
        number(f"{fmean(eers):.2f}", fmean(eers)),
        number(f"{min(eers):.2f} – {max(eers):.2f}", min(eers)),
        number(f"{stdev(eers):.2f}", stdev(eers)),
    )


def leaders_first(report: Report, trials: str, draw: Callable[[list[str]], Markup]) -> Markup:
    """The table that `draw` makes of the best teacher and student and, folded away, of the other models."""
    leaders = report.leaders(trials)
    others = [name for role in ROLES for name in report.ranked(trials, role) if name not in leaders]
    return join(draw(leaders), details("The other models", draw(others)) if others else None)


def results_tables(report: Report, trials: str) -> list[Markup]:
    """The tables of one trial list: teachers first, then students by the EER of their best back-end."""
    names = report.ranked(trials, "teacher") + report.ranked(trials, "student")
    best = [report.best(name, trials) for name in names]
    systems = [System(name, backend) for name in names for backend in report.settings.backends]
    teacher = next(iter(report.ranked(trials, "teacher")), None)
    rule = report.of(report.best(teacher, trials), trials).eer.value if teacher else None
    scale = scale_of([report.of(system, trials).eer for system in systems], rule)
    folded = details(f"Every back-end: {len(systems)} systems", results_table(report, trials, systems, scale))
    return [results_table(report, trials, best, scale), *([folded] if systems != best else [])]


def results_table(report: Report, trials: str, systems: list[System], scale: Scale) -> Markup:
    """A row for each of the systems, their intervals drawn on one scale."""
    priors = shared_priors(report)
    drawn = f"{100 * scale.low:.1f} to {100 * scale.high:.1f} %"
    header = [
        *(heading("Model"), heading("Objective"), heading("Back-end")),
        heading("EER, %", "equal error rate", "number"),
        heading("Interval", "ends of the EER's interval", "number"),
        heading(drawn, "the EER's interval; the dotted line is the best teacher"),
        *(heading(join("minDCF", BREAK, prior), f"target prior {prior}", "number") for prior in priors),
        heading("Params", "parameters without the head", "number"),
        *REDUCTIONS,
    ]
    return table(header, [results_row(report, system, trials, priors, scale) for system in systems], "full")


def results_row(report: Report, system: System, trials: str, priors: list[str], scale: Scale) -> Markup:
    """One system in the results table."""
    name, backend = system.model, system.backend
    metrics, parameters = report.of(system, trials), report.costs[name].parameters
    eer, costs = metrics.eer, [metrics.min_dcf[prior].value for prior in priors]
    return element(
        "tr",
        *(model_cell(report, name), cell(method(report, name)), cell(backend)),
        cell(f"{100 * eer.value:.2f}", eer.value, "number eer"),
        number(f"{100 * eer.low:.2f} – {100 * eer.high:.2f}", eer.low),
        cell(scale.bar(eer, colours(report)[name]), eer.value, "bar"),
        *(number(f"{cost:.3f}", cost) for cost in costs),
        number(count(parameters), parameters),
        *reduction_cells(report, name),
        cls="best" if report.best(name, trials) == system else None,
    )


def model_cell(report: Report, name: str) -> Markup:
    """A model's name after a dot of the colour that it has in the figures."""
    dot = element("span", cls="swatch", style=f"background:{colours(report)[name]}")
    return cell(join(dot, name), name, "model")


def method(report: Report, name: str) -> str:
    """How a model was trained: "teacher", "none", or its objective."""
    model = report.settings.models[name]
    return "teacher" if model.role == "teacher" else model.objective or "none"


def reduction_cells(report: Report, name: str) -> list[Markup]:
    """How much smaller than its teacher a student is, in two cells that are empty for a teacher."""
    reduction = report.reduction(name)
    if reduction is None:
        return [cell("", -9), cell("", -9)]
    return [number(percent(share, 1), share) for share in reduction]


def comparisons(report: Report) -> Markup | None:
    """The paired tests, a table for each trial list and kind of baseline."""
    if not report.model_tests:
        return None
    confidence = percent(next(iter(report.metrics.values())).confidence, 0)
    note = (
        "Difference of EER in percentage points, below zero where the model is better than what it is "
        f"compared with, and its {confidence} interval, on the same trials. The verdict is by the p-value as "
        "Holm's method adjusts it for the number of tests of the trial list with the back-end. At an adjusted"
        f" p ≥ {SIGNIFICANT} (grey) there is no proof of a difference, nor of there being none. {SORTABLE}"
    )
    if any(map(report.several, report.groups)):
        note += (
            " Where a model was trained with several seeds, its EER is the mean over them, and interval and "
            "p-value hold for other seeds too."
        )
    groups: dict[tuple[str, str], list[Comparison]] = {}
    for test in sorted(report.model_tests, key=lambda test: report.groups.index(test.system.model)):
        groups.setdefault((test.trials, against(report, test)), []).append(test)
    return join(
        element("p", note, cls="note"),
        *(
            join(element("h3", f"{kind}, {trials}"), *comparison_tables(report, groups[trials, kind]))
            for trials in report.settings.trials
            for kind in KINDS
            if (trials, kind) in groups
        ),
    )


def against(report: Report, test: Comparison) -> str:
    """What kind of baseline a comparison has."""
    system, baseline = (
        report.settings.models[report.members(side.model)[0]] for side in (test.system, test.baseline)
    )
    if system.baseline == test.baseline.model:
        return KINDS[0]
    return KINDS[1] if baseline.role == "teacher" else KINDS[2]


def comparison_tables(report: Report, tests: list[Comparison]) -> list[Markup]:
    """The paired tests of one group: each model with its best back-end and, folded away, with the others."""
    scale = scale_of([test.difference for test in tests], 0.0)
    best = [test for test in tests if report.best_of_group(test.system.model, test.trials) == test.system]
    rest = [test for test in tests if test not in best]
    folded = [details("The other back-ends", comparison_table(report, rest, scale))] if rest else []
    return [comparison_table(report, best, scale), *folded] if best else folded


def comparison_table(report: Report, tests: list[Comparison], scale: Scale) -> Markup:
    """A row for each test, the differences drawn on one scale."""
    drawn = f"{points(scale.low)} to {points(scale.high)}"
    header = [
        *(heading("Model"), heading("Back-end"), heading("EER, %", cls="number")),
        *(heading("Against"), heading("its EER", cls="number")),
        heading("Difference", "percentage points", "number"),
        heading("Interval", "percentage points", "number"),
        heading(drawn, "the interval of the difference; the dotted line is no difference"),
        heading("p", "p-value of this test alone", "number"),
        heading("Holm p", "adjusted for all tests of the trial list with the back-end", "number")
        if tests[0].system.model != tests[0].baseline.model
        else heading("Holm p", "adjusted for all tests between back-ends of the trial list", "number"),
        heading("Verdict"),
    ]
    return table(header, [comparison_row(report, test, scale) for test in tests], "full")


def comparison_row(report: Report, test: Comparison, scale: Scale) -> Markup:
    """One paired test."""
    difference, significant, baseline = test.difference, test.p_holm < SIGNIFICANT, test.baseline.model
    if test.baseline.backend != test.system.backend:
        baseline += f", {test.baseline.backend}"
    return element(
        "tr",
        *(model_cell(report, test.system.model), cell(test.system.backend)),
        number(f"{100 * test.eer_system:.2f}", test.eer_system),
        *(cell(baseline), number(f"{100 * test.eer_baseline:.2f}", test.eer_baseline)),
        number(points(difference.value), difference.value),
        number(f"{points(difference.low)} to {points(difference.high)}", difference.low),
        cell(scale.bar(difference, "#0072B2" if significant else PLAIN), difference.value, "bar"),
        *(number(p_figure(p), p) for p in (test.p_value, test.p_holm)),
        cell(verdict(test), cls="verdict" if significant else "verdict faint"),
    )


def test_cell(test: Comparison | None) -> Markup:
    """A difference of EER over its p-values."""
    if test is None:
        return cell("", 9)
    figures = f"{p_figure(test.p_value)}, {p_figure(test.p_holm)}"
    p_values = element("span", unbroken(figures), cls="faint")
    text = join(points(test.difference.value), BREAK, p_values)
    return cell(text, test.difference.value, "number" if test.p_holm < SIGNIFICANT else "number faint")


def p_figure(p_value: float) -> str:
    """A p-value for a column of them: "0.03", "< 0.001"."""
    return probability(p_value).removeprefix("p ").removeprefix("= ")


def models(report: Report) -> Markup:
    """What each model is and costs."""
    header = [
        *(heading(text) for text in ("Model", "Architecture", "Objective", "Targets", "Teacher")),
        heading("Params", "parameters without the classification head", "number"),
        heading("with head", "parameters with the classification head of its training", "number"),
        heading("Bytes", "of its file: float32 weights, and statistics of batch normalisation", "number"),
        heading("MACs/s", "multiply-accumulates for a second of speech", "number"),
        heading("Embedding", "dimension", "number"),
        *REDUCTIONS,
    ]
    note = (
        "A head is needed for training only. Students are counted without theirs in both reductions: against "
        "the teacher without its head, and with it."
    )
    rows = [model_row(report, name) for name in report.settings.models]
    return join(element("p", note, cls="note"), table(header, rows, "full"))


def model_row(report: Report, name: str) -> Markup:
    """One model's row."""
    model, cost = report.settings.models[name], report.costs[name]
    return element(
        "tr",
        *(model_cell(report, name), cell(model.arch), cell(method(report, name))),
        *(cell(targets(model)), cell(model.teacher or "")),
        number(f"{cost.parameters:,}", cost.parameters),
        number(f"{cost.parameters_with_head:,}", cost.parameters_with_head),
        number(count(cost.bytes), cost.bytes),
        number(count(cost.macs_per_second), cost.macs_per_second),
        number(cost.embedding_dim, cost.embedding_dim),
        *reduction_cells(report, name),
    )


def targets(model: ModelSettings) -> str:
    """The embeddings that a student regresses, and what is not the plain way to."""
    forms = [", a head each"] if model.form == "heads" else []
    forms += [", of the utterance"] if model.targets_of == "utterance" else []
    return "".join([" + ".join(model.targets), *forms])


def data(report: Report) -> Markup:
    """The trial lists, what the stages made, and the entries that they rejected."""
    header = [heading("Trial list")]
    header += [heading(text, cls="number") for text in ("Trials", "Targets", "Non-targets", "Speakers")]
    header += [
        heading("Duplicates", "trials that are listed again; each listing counts", "number"),
        heading("Not scored", "trials left out, in the system that lacks most", "number"),
    ]
    rows = [trials_row(report, trials) for trials in report.settings.trials]
    parts = [element("h3", "Trials"), table(header, rows)]
    if report.manifests:
        parts += [element("h3", "Stages"), manifests_table(report)]
    if report.rejected:
        parts += [element("h3", "Rejected entries"), rejected_table(report)]
        parts += [rejected_entries(name, entries) for name, entries in report.rejected.items() if entries]
    return join(*parts)


def trials_row(report: Report, trials: str) -> Markup:
    """The counts of one trial list, from the system that scored most of it."""
    of_list = [metrics for key, metrics in report.metrics.items() if key[2] == trials]
    full = max(of_list, key=lambda metrics: metrics.trials)
    missing = max(metrics.missing for metrics in of_list)
    counts = (full.trials, full.targets, full.nontargets, full.speakers, full.duplicates, missing)
    return element("tr", cell(trials), *(number(f"{value:,}", value) for value in counts))


def manifests_table(report: Report) -> Markup:
    """What the stages say that they made."""
    rows = []
    for name, manifest in report.manifests.items():
        contents = ", ".join(f"{key} {plain(value)}" for key, value in manifest["contents"].items())
        rows.append(element("tr", cell(name), cell(contents)))
    return table([heading("Stage"), heading("Contents")], rows)


def plain(value: Any) -> str:
    """A value of a manifest as text: whole numbers with separators, structures as JSON."""
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return value if isinstance(value, str) else json.dumps(value)


def rejected_table(report: Report) -> Markup:
    """How many entries each stage rejected, and why."""
    rows = []
    for name, entries in report.rejected.items():
        reasons = Counter(reason for _, reason in entries).most_common(5)
        told = "; ".join(f"{reason} ({times:,})" for reason, times in reasons)
        rows.append(element("tr", cell(name), number(f"{len(entries):,}", len(entries)), cell(told)))
    header = [heading("Stage and set"), heading("Rejected", cls="number"), heading("Most frequent reasons")]
    return table(header, rows)


def rejected_entries(name: str, entries: list[list[str]]) -> Markup:
    """The rejected entries of one stage and set; of a long list the first, and how many more there are."""
    rows = [element("tr", cell(utterance), cell(reason)) for utterance, reason in entries[:LISTED]]
    listed = table([heading("Utterance"), heading("Reason")], rows)
    more = f"and {len(entries) - LISTED:,} more in its rejected.tsv" if len(entries) > LISTED else ""
    return details(f"{name}: {len(entries):,} rejected", listed, element("p", more, cls="note"))
