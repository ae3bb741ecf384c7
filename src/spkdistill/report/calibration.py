"""How good scores are as log-likelihood ratios: a table for each trial list, and the scores' histograms."""

from functools import partial

from spkdistill.report.contents import Report, System
from spkdistill.report.histograms import score_histograms
from spkdistill.report.html import Markup, cell, element, figure, heading, join, number, table
from spkdistill.report.summary import shared_priors
from spkdistill.report.tables import BREAK, SORTABLE, leaders_first, model_cell

MEANING = (
    "minDCF is the detection cost at the best threshold of these trials, actDCF at the threshold of Bayes' "
    "rule for scores that are log-likelihood ratios. Cllr is the cost of such scores in bits over all "
    "thresholds (1: no better than none), min Cllr what is left of it after the best calibration, the loss "
    "the difference (0: well calibrated). Cosines and normalised scores are no log-likelihood ratios: their "
    "actDCF and Cllr say little and are left out (–); summary.tsv has them. A model is shown with its best "
    "back-end and with every fusion. "
)
HISTOGRAMS = (
    "Scores of the best teacher and the best student with their best back-ends, each class as a density. "
    "Bayes' rule has a threshold, log((1 − P) / P) for a target prior P, if they are log-likelihood ratios."
    " The outermost bins also count the scores beyond them."
)
ABSENT = 1e9  # what an absent value is sorted by: after any other


def calibration(report: Report) -> Markup:
    """The tables, then the histograms of the scores."""
    parts = [element("p", MEANING + SORTABLE, cls="note")]
    for trials in report.settings.trials:
        draw = partial(calibration_table, report, trials)
        parts += [element("h3", f"Trial list {trials}"), leaders_first(report, trials, draw)]
    return join(*parts, figure(score_histograms(report), HISTOGRAMS))


def calibration_table(report: Report, trials: str, names: list[str]) -> Markup:
    """The table of some models: each with its best back-end and with every fusion."""
    priors = shared_priors(report)
    header = [heading("Model"), heading("Back-end")]
    for prior in priors:
        header += [
            heading(join(cost, BREAK, prior), f"target prior {prior}", "number")
            for cost in ("minDCF", "actDCF")
        ]
    header += [
        *(heading("Cllr", "bits", "number"), heading("Interval", "ends of Cllr's interval", "number")),
        heading("min Cllr", "after the best monotonic calibration (PAV)", "number"),
        heading("Loss", "Cllr less min Cllr", "number"),
        heading(join("EER of", BREAK, "hull, %"), "EER on the convex hull of the ROC", "number"),
    ]
    systems = [system for name in names for system in calibrated(report, name, trials)]
    return table(header, [calibration_row(report, system, trials, priors) for system in systems], "full")


def calibrated(report: Report, model: str, trials: str) -> list[System]:
    """A model with its best back-end and with each fusion."""
    backends = report.settings.backends
    fusions = [System(model, name) for name in backends if backends[name].kind == "fusion"]
    return list(dict.fromkeys([report.best(model, trials), *fusions]))


def calibration_row(report: Report, system: System, trials: str, priors: list[str]) -> Markup:
    """One system's row."""
    metrics, llrs = report.of(system, trials), report.settings.backends[system.backend].gives_llrs
    cllr, least = metrics.cllr, metrics.min_cllr
    loss = max(cllr.value - least, 0.0)  # below zero by rounding only

    def of_llrs(text: str, key: float) -> Markup:
        return number(text, key) if llrs else number("–", ABSENT)

    costs = []
    for prior in priors:
        least_cost, cost = metrics.min_dcf[prior].value, metrics.act_dcf[prior].value
        costs += [number(f"{least_cost:.3f}", least_cost), of_llrs(f"{cost:.3f}", cost)]
    return element(
        "tr",
        *(model_cell(report, system.model), cell(system.backend), *costs),
        of_llrs(f"{cllr.value:.3f}", cllr.value),
        of_llrs(f"{cllr.low:.3f} – {cllr.high:.3f}", cllr.low),
        number(f"{least:.3f}", least),
        of_llrs(f"{loss:.3f}", loss),
        number(f"{100 * metrics.eer_hull:.2f}", metrics.eer_hull),
    )
