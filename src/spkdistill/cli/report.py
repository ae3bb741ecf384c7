"""`spkdistill report`, `analysis-page`, `runs` and `summary`."""

import argparse
from functools import partial
from pathlib import Path

from spkdistill.cli import add_settings, by_name, named_path, stage
from spkdistill.errors import ConfigError, printable


def add_commands(commands: argparse._SubParsersAction) -> None:
    """Add this room's subcommands."""
    parser = commands.add_parser("report", help="the report of a run or an experiment as a page")
    add_settings(parser)
    add_measured(parser)
    named(parser, "--log", "NAME=TSV", "a training log")
    named(parser, "--rejected", "STAGE/SET=TSV", "the entries that a stage rejected")
    named(parser, "--manifest", "STAGE/SET=JSON", "a stage's manifest")
    named(parser, "--analysis", "TEACHER=JSON", "an analysis of a teacher's targets")
    parser.add_argument(
        "--paired", nargs="+", action="extend", default=[], type=Path, metavar="TSV", help="paired tests"
    )
    named(parser, "--reference", "EXPERIMENT/BACKEND/TRIALS=TSV", "paired tests against its reference")
    parser.add_argument("--html", required=True, type=Path, help="the page to write")
    parser.add_argument("--summary", type=Path, help="the table to write")
    named(parser, "--plot", "EXPERIMENT=SVG", "the figure of an experiment to write")
    named(parser, "--methods", "EXPERIMENT=TSV", "the table of the methods of an experiment to write")
    inputs = ["metrics", "model", "log", "rejected", "manifest", "analysis", "paired", "reference"]
    outputs = ["html", "summary", "plot", "methods"]
    stage(parser, run_report, ("report.page", "report.summary"), inputs, outputs)

    parser = commands.add_parser(
        "analysis-page", help="what the targets of a teacher have in common, as a page"
    )
    parser.add_argument("--teacher", required=True, metavar="NAME", help="whose they are")
    parser.add_argument("--analysis", required=True, type=Path, metavar="JSON", help="what `analyse` wrote")
    parser.add_argument("--html", required=True, type=Path, help="the page to write")
    parser.add_argument("--plot", required=True, type=Path, metavar="SVG", help="its heat maps, to write")
    stage(parser, run_analysis_page, "report.page", ["analysis"], ["html", "plot"])

    parser = commands.add_parser("runs", help="a table of students and their teachers, a row for each run")
    add_settings(parser)
    add_measured(parser)
    parser.add_argument("--output", required=True, type=Path, metavar="TSV", help="the table to write")
    stage(parser, run_runs, "report.runs", ["metrics", "model"], ["output"])

    parser = commands.add_parser("summary", help="print a run's summary.tsv as a table")
    parser.add_argument("table", type=Path, metavar="SUMMARY.TSV")
    parser.add_argument("--all", action="store_true", help="every back-end, not only the best of each model")
    parser.add_argument("--report", metavar="PATH", help="where the report is, for the closing line")
    parser.set_defaults(run=run_summary)


def add_measured(parser: argparse.ArgumentParser) -> None:
    """Add the options that name the measured systems and their models."""
    named(parser, "--metrics", "MODEL/BACKEND/TRIALS=JSON", "metrics of a scored system")
    named(parser, "--model", "NAME=JSON", "a model's config.json")


def named(parser: argparse.ArgumentParser, option: str, form: str, text: str) -> None:
    """Add an option that takes name=path, several at once and repeatedly."""
    read = partial(named_path, option)
    parser.add_argument(option, nargs="*", action="extend", default=[], type=read, metavar=form, help=text)


def run_report(options: argparse.Namespace) -> None:
    """Read every input, then write the page and what else is asked for."""
    from spkdistill.report.experiments import write_plot
    from spkdistill.report.inputs import read_report
    from spkdistill.report.methods import write_methods
    from spkdistill.report.page import write_page
    from spkdistill.report.summary import write_summary

    report = read_report(
        settings=options.settings,
        metrics=by_name("--metrics", options.metrics),
        models=by_name("--model", options.model),
        logs=by_name("--log", options.log),
        paired=options.paired,
        references=by_name("--reference", options.reference),
        rejected=by_name("--rejected", options.rejected),
        manifests=by_name("--manifest", options.manifest),
        analyses=by_name("--analysis", options.analysis),
    )
    for option, pairs, write in (
        ("--plot", options.plot, write_plot),
        ("--methods", options.methods, write_methods),
    ):
        for experiment, path in by_name(option, pairs).items():
            if experiment not in report.settings.experiments:
                raise ConfigError(f"{option} {experiment}: no experiment of the report's settings")
            write(report, experiment, path)
    if options.summary:
        write_summary(report, options.summary)
    write_page(report, options.html)


def run_analysis_page(options: argparse.Namespace) -> None:
    """Write the page and the plot of an analysis."""
    from spkdistill.report.analysis import write_heat_maps
    from spkdistill.report.inputs import read_analysis
    from spkdistill.report.page import write_analysis_page

    found = read_analysis(options.analysis)
    write_heat_maps(options.teacher, found, options.plot)
    write_analysis_page(options.teacher, found, options.html)


def run_runs(options: argparse.Namespace) -> None:
    """Write the table of runs."""
    from spkdistill.report.runs import write_runs

    metrics, models = by_name("--metrics", options.metrics), by_name("--model", options.model)
    write_runs(options.settings, metrics, models, options.output)


def run_summary(options: argparse.Namespace) -> None:
    """Print the table."""
    from spkdistill.report.summary import terminal_summary

    for line in terminal_summary(options.table, options.all, options.report).splitlines():
        print(printable(line))
