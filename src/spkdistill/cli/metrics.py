"""`spkdistill metrics` and `spkdistill paired`."""

import argparse
from pathlib import Path

from spkdistill.cli import add_settings, named_path, stage

INPUTS = "trials", "utt2spk", "enrol_spk2utt"


def add_commands(commands: argparse._SubParsersAction) -> None:
    """Add the subcommands of the metrics room."""
    parser = commands.add_parser("metrics", help="EER, DCF, Cllr, DET curve and intervals of a score file")
    parser.add_argument("--scores", required=True, type=Path, help="lines `enrol test score`")
    add_inputs(parser)
    parser.add_argument("--spk2gender", type=Path, help="f or m of each speaker, for the condition sex")
    parser.add_argument("--utt2dur", type=Path, help="seconds of each utterance, for the condition duration")
    parser.add_argument(
        "--output", required=True, type=Path, metavar="JSON", help="the metrics; rates are fractions"
    )
    inputs = ["scores", *INPUTS, "spk2gender", "utt2dur"]
    stage(parser, run_metrics, "metrics.evaluate", inputs, ["output"])

    parser = commands.add_parser(
        "paired", help="differences in EER and minDCF between systems on the same trials"
    )
    parser.add_argument(
        "--pair",
        required=True,
        action="append",
        nargs=2,
        type=named_scores,
        metavar=("SYSTEM=SCORES[,SCORES...][+SCORES...]", "BASELINE=SCORES..."),
        help="two systems to compare, a row of the table: a score file for each seed of a student and, after "
        "+, those of a further student; the system is the mean over students",
    )
    parser.add_argument(
        "--shared-seeds",
        action="store_true",
        help="the first score files of both systems come from one training, and the second, ...",
    )
    parser.add_argument("--name", help="of the trial list in the table (the name of its file)")
    add_inputs(parser)
    parser.add_argument("--output", required=True, type=Path, metavar="TSV", help="a row for each pair")
    stage(parser, run_paired, "metrics.evaluate", ["pair", *INPUTS], ["output"])


def named_scores(text: str) -> tuple[str, list[list[Path]]]:
    """The name and the score files, those of each student, of SYSTEM=SCORES,SCORES+SCORES,SCORES."""
    name, paths = named_path("--pair", text)
    return name, [[Path(path) for path in seeds.split(",")] for seeds in str(paths).split("+")]


def add_inputs(parser: argparse.ArgumentParser) -> None:
    """Add what both subcommands need."""
    parser.add_argument(
        "--trials",
        required=True,
        type=Path,
        help="`enrol test target|nontarget`, `1|0 enrol test`, or with a header",
    )
    parser.add_argument(
        "--utt2spk", required=True, type=Path, help="the speaker of each utterance of the trials"
    )
    parser.add_argument(
        "--enrol-spk2utt", type=Path, help="utterances of each model, where trials name models, not speakers"
    )
    add_settings(parser)
    parser.add_argument("--seed", required=True, type=int, help="of the resampling")


def run_metrics(options: argparse.Namespace) -> None:
    """Measure a score file."""
    from spkdistill.metrics.evaluate import evaluate
    from spkdistill.metrics.lines import metrics_line
    from spkdistill.metrics.settings import MetricsSettings
    from spkdistill.settings import build

    settings = build(MetricsSettings, options.settings, "metrics")
    metrics = evaluate(
        options.scores,
        options.trials,
        options.utt2spk,
        options.enrol_spk2utt,
        options.spk2gender,
        options.utt2dur,
        settings,
        options.seed,
        options.output,
    )
    print(metrics_line(options.trials.name, metrics, settings.prior_names[0]))


def run_paired(options: argparse.Namespace) -> None:
    """Compare score files."""
    from spkdistill.metrics.evaluate import compare
    from spkdistill.metrics.lines import paired_line
    from spkdistill.metrics.settings import MetricsSettings
    from spkdistill.settings import build

    settings = build(MetricsSettings, options.settings, "metrics")
    name = options.name or options.trials.name
    rows = compare(
        options.pair,
        name,
        options.trials,
        options.utt2spk,
        options.enrol_spk2utt,
        settings,
        options.shared_seeds,
        options.seed,
        options.output,
    )
    for row in rows:
        print(paired_line(row, settings.prior_names[0]))
