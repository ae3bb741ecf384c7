"""`spkdistill backend`, `speaker-means`, `score`, `calibrate`, `fuse`, `score-all` and `diarize`."""

import argparse
from pathlib import Path

from spkdistill.cli import add_settings, at_least
from spkdistill.errors import ConfigError

TRIALS = "`enrol test target|nontarget` or `1|0 enrol test`"


def add_commands(commands: argparse._SubParsersAction) -> None:
    """Add the subcommands of the back-end room."""
    add_backend(
        commands.add_parser("backend", help="train a scoring back-end (mean, LDA, PLDA) on embeddings")
    )
    add_means(commands.add_parser("speaker-means", help="each speaker's mean embedding: a cohort, or models"))
    add_score(commands.add_parser("score", help="score trials with a back-end"))
    add_calibrate(commands.add_parser("calibrate", help="learn to turn scores into log likelihood ratios"))
    add_fuse(commands.add_parser("fuse", help="calibrated scores of one system or several"))
    add_all(commands.add_parser("score-all", help="score every enrolled model against every utterance"))
    add_diarize(commands.add_parser("diarize", help="cluster the utterances of recordings by speaker"))


def add_backend(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `backend`."""
    add_embeddings(parser, "the training set's embeddings")
    parser.add_argument("--utt2spk", required=True, type=Path, help="the speaker of each of them")
    parser.add_argument("--adapt", type=Path, metavar="SCP", help="unlabelled embeddings of the adapt_set")
    add_settings(parser)
    add_files(parser)
    parser.set_defaults(run=run_backend)


def add_means(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `speaker-means`."""
    add_embeddings(parser, "the utterances' embeddings")
    parser.add_argument("--spk2utt", required=True, type=Path, help="the utterances of each speaker")
    add_share(parser, "of the utterances, at most")
    add_archive(parser, "the means")
    parser.add_argument("--num-utts", required=True, type=Path, help="lines `speaker count`, to write")
    parser.set_defaults(run=run_means)


def add_score(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `score`."""
    add_system(parser)
    parser.add_argument(
        "--score-norm", default="none", choices=("none", "z", "t", "s", "as"), help="against a cohort"
    )
    parser.add_argument("--cohort-top", type=at_least(2), default=300, help="cohort scores that count (as)")
    parser.add_argument("--cohort", type=Path, metavar="SCP", help="the means of the cohort's speakers")
    parser.add_argument("--cohort-num-utts", type=Path, help="lines `speaker count` of the cohort")
    add_scored(parser)
    parser.set_defaults(run=run_score)


def add_calibrate(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `calibrate`."""
    add_systems(parser)
    parser.add_argument("--trials", required=True, type=Path, help=TRIALS)
    parser.add_argument(
        "--prior", required=True, type=float, help="of a target, in what is minimised; at 0.5 that is Cllr"
    )
    parser.add_argument("--output", required=True, type=Path, metavar="JSON", help="the weights")
    parser.set_defaults(run=run_calibrate)


def add_fuse(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `fuse`."""
    parser.add_argument("--fusion", required=True, type=Path, metavar="JSON", help="the weights")
    add_systems(parser)
    add_scored(parser)
    parser.set_defaults(run=run_fuse)


def add_all(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `score-all`."""
    add_system(parser)
    add_share(parser, "of the utterances of models, at most")
    add_archive(parser, "for each model a vector of scores, in the order of the embeddings")
    parser.set_defaults(run=run_all)


def add_diarize(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `diarize`."""
    parser.add_argument("--plda", required=True, type=Path, help="the PLDA model of such embeddings")
    add_embeddings(parser, "the utterances' embeddings")
    parser.add_argument("--reco2utt", required=True, type=Path, help="the utterances of each recording")
    parser.add_argument(
        "--target-energy", required=True, type=float, help="share of a recording's variance that is kept"
    )
    until = parser.add_mutually_exclusive_group(required=True)
    until.add_argument("--threshold", type=float, help="clusters merge above this mean score")
    until.add_argument("--reco2num-spk", type=Path, help="the number of speakers of each recording")
    add_archive(parser, "for each recording the matrix of scores")
    parser.add_argument("--labels", required=True, type=Path, help="lines `utterance label`, to write")
    parser.set_defaults(run=run_diarize)


def add_embeddings(parser: argparse.ArgumentParser, text: str) -> None:
    """Add the index of embeddings."""
    parser.add_argument("--embeddings", required=True, type=Path, metavar="SCP", help=text)


def add_files(parser: argparse.ArgumentParser) -> None:
    """Add the files of a back-end, all in Kaldi's formats."""
    parser.add_argument(
        "--mean", required=True, type=Path, help="the vector that is subtracted from embeddings"
    )
    parser.add_argument("--transform", type=Path, help="the LDA transform (PLDA)")
    parser.add_argument("--plda", type=Path, help="the PLDA model; without one, scores are cosines")


def add_system(parser: argparse.ArgumentParser) -> None:
    """Add a back-end and the embeddings that it scores; the defaults are Kaldi's."""
    add_files(parser)
    switch = argparse.BooleanOptionalAction
    parser.add_argument("--normalize-length", action=switch, default=True, help="in PLDA's space")
    parser.add_argument("--simple-length-norm", action=switch, default=False, help="regardless of psi")
    add_embeddings(parser, "embeddings of both sides")
    parser.add_argument(
        "--enrol-spk2utt", type=Path, help="utterances of each enrolled model, where trials name models"
    )


def add_systems(parser: argparse.ArgumentParser) -> None:
    """Add the score files that are calibrated or fused."""
    parser.add_argument(
        "--scores", required=True, nargs="+", type=Path, help="one file of `enrol test score` for each system"
    )


def add_scored(parser: argparse.ArgumentParser) -> None:
    """Add a trial list and what becomes of it."""
    parser.add_argument("--trials", required=True, type=Path, help=TRIALS)
    add_share(parser, "of the trials, and of the utterances of models, at most")
    parser.add_argument("--output", required=True, type=Path, help="lines `enrol test score`")
    parser.add_argument(
        "--rejected", required=True, type=Path, metavar="TSV", help="trials without a score, and why"
    )


def add_share(parser: argparse.ArgumentParser, text: str) -> None:
    """Add the share that may be left out."""
    parser.add_argument("--max-rejected", required=True, type=float, metavar="SHARE", help=text)


def add_archive(parser: argparse.ArgumentParser, text: str) -> None:
    """Add an archive to write."""
    parser.add_argument("--ark", required=True, type=Path, help=text)
    parser.add_argument("--scp", required=True, type=Path, help="its index")


def run_backend(options: argparse.Namespace) -> None:
    """Train a back-end."""
    from spkdistill.backend.settings import backend_settings
    from spkdistill.backend.train import train_backend

    settings = backend_settings(options.settings)
    files = options.mean, options.transform, options.plda
    train_backend(options.embeddings, options.utt2spk, options.adapt, settings, *files)


def run_means(options: argparse.Namespace) -> None:
    """Average embeddings."""
    from spkdistill.backend.inputs import write_speaker_means

    outputs = options.ark, options.scp, options.num_utts
    write_speaker_means(options.embeddings, options.spk2utt, options.max_rejected, *outputs)


def run_score(options: argparse.Namespace) -> None:
    """Score trials."""
    from spkdistill.backend.scoring import score
    from spkdistill.backend.settings import ScoreSettings
    from spkdistill.backend.system import read_system

    if (options.cohort is None) != (options.cohort_num_utts is None):
        raise ConfigError("score: --cohort and --cohort-num-utts go together")
    lengths = options.normalize_length, options.simple_length_norm
    settings = ScoreSettings(*lengths, options.score_norm, options.cohort_top)
    score(
        settings,
        read_system(settings, options.mean, options.transform, options.plda),
        options.embeddings,
        options.enrol_spk2utt,
        None if options.cohort is None else (options.cohort, options.cohort_num_utts),
        options.trials,
        options.max_rejected,
        options.output,
        options.rejected,
    )


def run_calibrate(options: argparse.Namespace) -> None:
    """Learn the weights of systems."""
    from spkdistill.backend.fusion import calibrate

    calibrate(options.scores, options.trials, options.prior, options.output)


def run_fuse(options: argparse.Namespace) -> None:
    """Apply the weights of systems."""
    from spkdistill.backend.fusion import fuse

    outputs = options.output, options.rejected
    fuse(options.fusion, options.scores, options.trials, options.max_rejected, *outputs)


def run_all(options: argparse.Namespace) -> None:
    """Score all pairs."""
    from spkdistill.backend.dense import score_all
    from spkdistill.backend.settings import ScoreSettings
    from spkdistill.backend.system import read_system

    settings = ScoreSettings(options.normalize_length, options.simple_length_norm, "none", 2)
    system = read_system(settings, options.mean, options.transform, options.plda)
    inputs = options.embeddings, options.enrol_spk2utt, options.max_rejected
    score_all(system, *inputs, options.ark, options.scp)


def run_diarize(options: argparse.Namespace) -> None:
    """Cluster the utterances of recordings."""
    from spkdistill.backend.dense import diarize
    from spkdistill.backend.plda import read_plda

    diarize(
        read_plda(options.plda),
        options.embeddings,
        options.reco2utt,
        options.target_energy,
        options.threshold,
        options.reco2num_spk,
        options.ark,
        options.scp,
        options.labels,
    )
