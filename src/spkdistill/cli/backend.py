"""`spkdistill backend` and `spkdistill score`."""

import argparse
from pathlib import Path

from spkdistill.cli import add_settings


def add_commands(commands: argparse._SubParsersAction) -> None:
    """Add the subcommands of the back-end room."""
    parser = commands.add_parser("backend", help="train a scoring back-end (mean, LDA, PLDA) on embeddings")
    parser.add_argument(
        "--embeddings", required=True, type=Path, metavar="SCP", help="the training set's embeddings"
    )
    parser.add_argument("--utt2spk", required=True, type=Path, help="the speaker of each of them")
    add_settings(parser)
    add_files(parser)
    parser.set_defaults(run=run_backend)

    parser = commands.add_parser("score", help="score trials with a back-end")
    add_settings(parser)
    add_files(parser)
    parser.add_argument(
        "--embeddings", required=True, type=Path, metavar="SCP", help="embeddings of both sides"
    )
    parser.add_argument(
        "--enrol-spk2utt", type=Path, help="utterances of each enrolled speaker, where trials name speakers"
    )
    parser.add_argument(
        "--trials", required=True, type=Path, help="`enrol test target|nontarget` or `1|0 enrol test`"
    )
    parser.add_argument(
        "--max-rejected", required=True, type=float, metavar="SHARE", help="of the trials, at most"
    )
    parser.add_argument("--output", required=True, type=Path, help="lines `enrol test score`")
    parser.add_argument(
        "--rejected", required=True, type=Path, metavar="TSV", help="trials without a score, and why"
    )
    parser.set_defaults(run=run_score)


def add_files(parser: argparse.ArgumentParser) -> None:
    """Add the files of a back-end, all in Kaldi's formats."""
    parser.add_argument(
        "--mean", required=True, type=Path, help="the vector that is subtracted from embeddings"
    )
    parser.add_argument("--transform", type=Path, help="the LDA transform (kind plda)")
    parser.add_argument("--plda", type=Path, help="the PLDA model (kind plda)")


def run_backend(options: argparse.Namespace) -> None:
    """Train a back-end."""
    from spkdistill.backend.train import backend_settings, train_backend

    settings = backend_settings(options.settings)
    train_backend(
        options.embeddings, options.utt2spk, settings, options.mean, options.transform, options.plda
    )


def run_score(options: argparse.Namespace) -> None:
    """Score trials."""
    from spkdistill.backend.scoring import Backend, score
    from spkdistill.backend.train import backend_settings

    settings = backend_settings(options.settings)
    score(
        Backend(settings, options.mean, options.transform, options.plda),
        options.embeddings,
        options.enrol_spk2utt,
        options.trials,
        options.max_rejected,
        options.output,
        options.rejected,
    )
