"""Error rates by condition: a table for each trial list and each column of its conditions."""

import re
from functools import partial

from spkdistill.report.contents import Condition, Metrics, Report
from spkdistill.report.html import Markup, cell, element, heading, join, number, table
from spkdistill.report.summary import shared_priors
from spkdistill.report.tables import BREAK, SORTABLE, leaders_first, model_cell

NOTE = (
    "EER in % with its interval and, below it, minDCF at a target prior of {prior} and min Cllr, of each "
    "model with its best back-end on the whole trial list. Below a condition are its numbers of target + "
    "non-target trials. Conditions differ in their speakers too, and no test compares them. "
)


def conditions(report: Report) -> Markup | None:
    """The tables; None where no trial list has conditions."""
    found = []
    for trials in report.settings.trials:
        for condition in names(report, trials):
            draw = partial(condition_table, report, trials, condition)
            found += [element("h3", f"By {condition}, {trials}"), leaders_first(report, trials, draw)]
    note = NOTE.format(prior=shared_priors(report)[0]) + SORTABLE
    return join(element("p", note, cls="note"), *found) if found else None


def names(report: Report, trials: str) -> list[str]:
    """The conditions of a trial list."""
    of_list = [metrics.conditions for key, metrics in report.metrics.items() if key[2] == trials]
    return sorted(set().union(*of_list))


def condition_table(report: Report, trials: str, condition: str, models: list[str]) -> Markup:
    """A row for each model, a column for all trials and for each value of the condition."""
    prior = shared_priors(report)[0]
    measured = {name: report.of(report.best(name, trials), trials) for name in models}
    of_model = {name: metrics.conditions.get(condition, {}) for name, metrics in measured.items()}
    values = sorted(set().union(*of_model.values()), key=by_number)
    header = [heading("Model"), heading("Back-end"), heading("All", cls="number")]
    header += [
        value_heading(value, [of[value] for of in of_model.values() if value in of]) for value in values
    ]
    rows = [
        element(
            "tr",
            *(model_cell(report, name), cell(report.best(name, trials).backend), rates_cell(metrics, prior)),
            *(condition_cell(of_model[name].get(value), prior) for value in values),
        )
        for name, metrics in measured.items()
    ]
    return table(header, rows)


def by_number(value: str) -> tuple[list[float], str]:
    """Sorts values by the numbers in them, "<3", "3-6" and "12-20" in this order, and others as text."""
    return list(map(float, re.findall(r"\d+(?:\.\d+)?", value))), value


def value_heading(value: str, measured: list[Condition]) -> Markup:
    """A value over its numbers of trials, from the system that scored most of them."""
    full = max(measured, key=lambda condition: condition.targets + condition.nontargets)
    trials = f"{full.targets:,} + {full.nontargets:,}"
    return heading(
        join(value, BREAK, trials), f"target + non-target trials, of {full.speakers:,} speakers", "number"
    )


def condition_cell(condition: Condition | None, prior: str) -> Markup:
    """The rates of one condition, or why there are none."""
    if condition is None or condition.eer is None:
        return cell("no trials" if condition is None else condition.note, 9, "number faint")
    return rates_cell(condition, prior)


def rates_cell(rates: Metrics | Condition, prior: str) -> Markup:
    """An EER with its interval, over minDCF at a prior and min Cllr."""
    eer = rates.eer
    ends = element("span", f"[{100 * eer.low:.2f}, {100 * eer.high:.2f}]", cls="faint")
    others = element("span", f"{rates.min_dcf[prior].value:.3f}, {rates.min_cllr:.3f}", cls="faint")
    return number(join(f"{100 * eer.value:.2f} ", ends, BREAK, others), eer.value)
