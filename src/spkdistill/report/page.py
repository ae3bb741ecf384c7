"""The report as one HTML file: no framework, no request to anywhere, the same bytes for the same inputs."""

import json
from dataclasses import asdict
from pathlib import Path

from spkdistill import __version__
from spkdistill.files import write_text
from spkdistill.report import curves, plots, tables
from spkdistill.report.analysis import analysis
from spkdistill.report.backends import backends
from spkdistill.report.calibration import calibration
from spkdistill.report.conditions import conditions
from spkdistill.report.contents import Analysis, Report
from spkdistill.report.experiments import experiments
from spkdistill.report.html import Markup, details, element, figure, join
from spkdistill.report.numbers import unbroken
from spkdistill.report.sentences import caveat, run_sentence, trials_sentences
from spkdistill.report.style import SCRIPT, STYLE


def write_page(report: Report, path: Path) -> None:
    """Write the page."""
    sections = [
        ("results", "Results", tables.results(report)),
        ("experiments", "Experiments", experiments(report)),
        ("figures", "Error, size and trade-off", figures(report)),
        ("paired", "Paired comparisons", tables.comparisons(report)),
        ("conditions", "Conditions", conditions(report)),
        ("backends", "Back-ends", backends(report)),
        ("calibration", "Calibration", calibration(report)),
        ("models", "Models", tables.models(report)),
        ("targets", "What the targets have in common", analysis(report.analyses)),
        ("training", "Training", training(report)),
        ("data", "Data", tables.data(report)),
        ("provenance", "Provenance", provenance(report)),
    ]
    sections = [section for section in sections if section[2]]
    write_document(
        path,
        report.settings.run,
        element("nav", *(element("a", name, href=f"#{anchor}") for anchor, name, _ in sections)),
        element("main", opening(report), *(section(*parts) for parts in sections)),
    )


def write_analysis_page(name: str, found: Analysis, path: Path) -> None:
    """Write the page of an analysis of targets, called `name`."""
    content = section("targets", "What the targets have in common", analysis({name: found}))
    write_document(path, name, element("main", content))


def write_document(path: Path, name: str, *content: Markup) -> None:
    """Write a page with its heading, style and script."""
    head = element(
        "head",
        Markup('<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'),
        element("title", f"{name}: speaker-verification distillation"),
        element("style", Markup(STYLE)),
    )
    header = element("header", element("p", "spkdistill report", cls="kicker"), element("h1", name))
    body = element("body", header, *content, element("script", Markup(SCRIPT)))
    write_text(path, "<!DOCTYPE html>\n" + element("html", head, "\n", body, lang="en") + "\n")


def section(anchor: str, name: str, content: Markup) -> Markup:
    """A section with its heading."""
    return join("\n", element("section", element("h2", name), content, id=anchor))


def opening(report: Report) -> Markup:
    """The run in sentences."""
    lists = []
    for trials in report.settings.trials:
        items = [element("li", unbroken(sentence)) for sentence in trials_sentences(report, trials)]
        lists.append(element("div", element("h3", f"Trial list {trials}"), element("ul", *items)))
    return element(
        "section",
        element("p", run_sentence(report), cls="lead"),
        element("div", *lists, cls="lists"),
        element("p", unbroken(caveat(report)), cls="note"),
        cls="opening",
    )


def figures(report: Report) -> Markup:
    """The forest plot, the size plot and the DET curves."""
    det = "Detection error trade-off with each model's best back-end. A curve meets the diagonal at the EER."
    if len(report.settings.models) > plots.DET_CURVES:
        det += f" The {plots.DET_CURVES} best models of each trial list, teachers first, are drawn."
    return join(
        figure(plots.eer_forest(report), "EER and its interval. The dotted line is the best teacher."),
        figure(plots.size_scatter(report), "Size and error with the best back-end: lower left is better."),
        figure(plots.det_plots(report), det),
    )


def training(report: Report) -> Markup | None:
    """Training curves, those of a curriculum apart; of several seeds the first."""
    names = {group: report.members(group)[0] for group in report.groups}
    logs = {group: report.logs[name] for group, name in names.items() if name in report.logs}
    seeds = " Where there are several seeds, of the first." if any(map(report.several, names)) else ""
    drawn = [
        (curves.loss_curves(logs), "Terms of the loss by epoch."),
        (curves.accuracy_curves(logs), "Training accuracy by epoch."),
        *(
            (image, "The curriculum of triage distillation by epoch.")
            for image in curves.curriculum_curves(logs)
        ),
    ]
    found = [figure(image, caption + seeds) for image, caption in drawn if image]
    return join(*found) if found else None


def provenance(report: Report) -> Markup:
    """How to make the page again, and, folded away, versions, settings and model configurations."""
    rerun = element(
        "p",
        element("code", f"snakemake {report.settings.target}"),
        " makes this page again from the run's config, and before it whatever is missing or out of date.",
    )
    made_by = {json.dumps(manifest["made_by"], sort_keys=True) for manifest in report.manifests.values()}
    versions = [f"report: spkdistill {__version__}", *(f"stages: {text}" for text in sorted(made_by))]
    return join(
        rerun,
        details("Versions", element("pre", "\n".join(versions))),
        details("Settings of the report", element("pre", as_json(asdict(report.settings)))),
        *(
            details(f"config.json of {name}", element("pre", as_json(of)))
            for name, of in report.configs.items()
        ),
    )


def as_json(value: object) -> str:
    """A value as JSON that a person can read, long lists cut."""
    return json.dumps(cut(value), indent=2, ensure_ascii=False)


def cut(value: object) -> object:
    """A JSON value whose lists of more than twenty (a head's speakers) show three and their number."""
    if isinstance(value, dict):
        return {key: cut(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return (
            [cut(inner) for inner in value] if len(value) <= 20 else [*value[:3], f"… {len(value):,} in all"]
        )
    return value
