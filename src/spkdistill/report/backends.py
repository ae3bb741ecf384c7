"""What the back-ends are, and how each does over all models."""

from collections import Counter
from statistics import fmean

from spkdistill.report.contents import BackendSettings, Comparison, Report
from spkdistill.report.html import Markup, cell, details, element, heading, join, number, table
from spkdistill.report.numbers import points
from spkdistill.report.sentences import HIGHER, LOWER, NO_DIFFERENCE, SIGNIFICANT, verdict
from spkdistill.report.tables import BREAK, comparison_table, scale_of

KINDS = {"cosine": "cosine", "plda": "PLDA", "fusion": "logistic fusion"}


def backends(report: Report) -> Markup:
    """What the back-ends are, whether one is better than another, and their mean EER on each trial list."""
    note = (
        "Means over the models only describe. The lowest mean is bold. A model whose lowest EER several "
        "back-ends share counts for the first."
    )
    return join(
        backends_table(report),
        *tests(report),
        element("h3", "Mean EER of the models"),
        element("p", note, cls="note"),
        means_table(report),
    )


def tests(report: Report) -> list[Markup]:
    """Paired tests of each derived back-end against what it derives from: a tally, then every test."""
    if not report.backend_tests:
        return []
    note = (
        "Each model with one back-end against itself with another, on the same trials: of how many models "
        f"the EER is lower or higher at a p-value below {SIGNIFICANT}, adjusted by Holm's method for all of "
        "these tests of the trial list."
    )
    groups: dict[tuple[str, str, str], list[Comparison]] = {}
    for test in report.backend_tests:
        groups.setdefault((test.trials, test.system.backend, test.baseline.backend), []).append(test)
    header = [
        *(heading(text) for text in ("Trial list", "Back-end", "Against")),
        heading("Mean difference", "of EER, percentage points", "number"),
        *(heading(text, cls="number") for text in ("Lower EER", "Higher EER", "No difference shown")),
    ]
    tally = table(header, [tally_row(names, group) for names, group in groups.items()])
    scale = scale_of([test.difference for test in report.backend_tests], 0.0)
    every = comparison_table(report, report.backend_tests, scale)
    parts = element("h3", "Against each other"), element("p", note, cls="note"), tally
    return [*parts, details("Every test", every)]


def tally_row(names: tuple[str, str, str], group: list[Comparison]) -> Markup:
    """How many models differ between two back-ends on a trial list."""
    verdicts = Counter(verdict(test) for test in group)
    mean = fmean(test.difference.value for test in group)
    return element(
        "tr",
        *map(cell, names),
        number(points(mean), mean),
        *(number(str(verdicts[kind]), verdicts[kind]) for kind in (LOWER, HIGHER, NO_DIFFERENCE)),
    )


def backends_table(report: Report) -> Markup:
    """What each back-end is."""
    names = ("Back-end", "Kind", "Score normalisation", "Systems", "Trained on", "Scores")
    rows = [
        element(
            "tr",
            *(cell(name), cell(kind(backend)), cell(backend.norm or "none")),
            *(cell(" + ".join(backend.systems)), cell(trained_on(backend))),
            cell("log-likelihood ratios" if backend.gives_llrs else "no log-likelihood ratios"),
        )
        for name, backend in report.settings.backends.items()
    ]
    return table([heading(name) for name in names], rows)


def kind(backend: BackendSettings) -> str:
    """What a back-end is; the fusion of one system is its calibration."""
    return "logistic calibration" if len(backend.systems) == 1 else KINDS[backend.kind]


def trained_on(backend: BackendSettings) -> str:
    """The data that a back-end learnt from."""
    if backend.calibrated_on:
        return f"trial list {backend.calibrated_on}"
    adapted = f", adapted to {backend.adapted_to}" if backend.adapted_to else ""
    return f"training set{adapted}"


def means_table(report: Report) -> Markup:
    """For each back-end and trial list: the mean EER, and of how many models it is the best."""
    header = [heading("Back-end")]
    for trials in report.settings.trials:
        header += [
            heading(join(trials, BREAK, "mean EER, %"), "over the models", "number"),
            heading(join(BREAK, "best for"), "models whose lowest EER it gives", "number"),
        ]
    rows = [
        element(
            "tr",
            cell(backend),
            *(part for trials in report.settings.trials for part in mean_cells(report, backend, trials)),
        )
        for backend in report.settings.backends
    ]
    return table(header, rows)


def mean_cells(report: Report, backend: str, trials: str) -> list[Markup]:
    """The cells of one back-end on one trial list."""
    models = report.settings.models
    means = {
        name: fmean(report.metrics[model, name, trials].eer.value for model in models)
        for name in report.settings.backends
    }
    mean, text = means[backend], f"{100 * means[backend]:.2f}"
    best_for = sum(report.best(model, trials).backend == backend for model in models)
    return [
        number(element("strong", text) if mean == min(means.values()) else text, mean),
        number(f"{best_for} of {len(models)}", best_for),
    ]
