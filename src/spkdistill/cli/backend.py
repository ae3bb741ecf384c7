"""The back-end's subcommands, from `spkdistill backend` to `copy-plda`; add_commands lists them."""

import argparse
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from spkdistill.cli import add_settings, at_least, by_name, named_path, number, share, stage
from spkdistill.errors import ConfigError

if TYPE_CHECKING:
    from spkdistill.backend.scoring import Embeddings
    from spkdistill.backend.system import PldaSystem

SYSTEM = "mean", "transform", "plda"
TRIALS = "`enrol test target|nontarget` or `1|0 enrol test`"


def add_commands(commands: argparse._SubParsersAction) -> None:
    """Add the subcommands of the back-end room."""
    add_backend(
        commands.add_parser("backend", help="train a scoring back-end (mean, LDA, PLDA) on embeddings")
    )
    add_means(commands.add_parser("speaker-means", help="each speaker's mean embedding: a cohort, or models"))
    add_score(commands.add_parser("score", help="score trials with a back-end"))
    add_merge_scores(commands.add_parser("merge-scores", help="put the scores of shards together"))
    add_calibrate(commands.add_parser("calibrate", help="learn to turn scores into log likelihood ratios"))
    add_fuse(commands.add_parser("fuse", help="calibrated scores of one system or several"))
    add_all(commands.add_parser("score-all", help="score every enrolled model against every utterance"))
    add_diarize(commands.add_parser("diarize", help="cluster the utterances of recordings by speaker"))
    add_adapt(commands.add_parser("adapt-plda", help="adapt a PLDA model to unlabelled embeddings"))
    add_copy(commands.add_parser("copy-plda", help="copy a PLDA model: smoothed, or as text"))


def add_backend(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `backend`."""
    add_embeddings(parser, "the training set's embeddings")
    parser.add_argument("--utt2spk", required=True, type=Path, help="the speaker of each of them")
    parser.add_argument("--adapt", type=Path, metavar="SCP", help="unlabelled embeddings of the adapt_set")
    add_settings(parser)
    add_files(parser, mean_required=True)
    stage(parser, run_backend, "backend.train", ["embeddings", "utt2spk", "adapt"], SYSTEM)


def add_means(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `speaker-means`."""
    add_embeddings(parser, "the utterances' embeddings")
    parser.add_argument("--spk2utt", required=True, type=Path, help="the utterances of each speaker")
    add_share(parser, "of the utterances, at most")
    parser.add_argument(
        "--at-most",
        type=at_least(1),
        metavar="N",
        help="mean of each speaker's first N utterances, not of all",
    )
    add_archive(parser, "the means")
    parser.add_argument("--num-utts", required=True, type=Path, help="lines `speaker count`, to write")
    stage(parser, run_means, "backend.inputs", ["embeddings", "spk2utt"], ["ark", "scp", "num_utts"])


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
    parser.add_argument("--job", type=at_least(1), default=1, help="which shard of the trials, from 1")
    parser.add_argument("--jobs", type=at_least(1), default=1, help="how many shards there are")
    enrolled = ["enrol_spk2utt", "enrol", "enrol_num_utts"]
    inputs = [*SYSTEM, "embeddings", *enrolled, "cohort", "cohort_num_utts", "trials"]
    stage(parser, run_score, "backend.scoring", inputs, ["output", "rejected"])


def add_merge_scores(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `merge-scores`."""
    for name in ("scores", "rejected"):
        parser.add_argument(
            f"--{name}-parts", required=True, nargs="+", type=Path, help="of the shards, in order"
        )
    add_score_outputs(parser)
    stage(
        parser,
        run_merge_scores,
        "backend.scoring",
        ["scores_parts", "rejected_parts"],
        ["output", "rejected"],
    )


def add_calibrate(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `calibrate`."""
    add_systems(parser)
    parser.add_argument("--trials", required=True, type=Path, help=TRIALS)
    add_share(parser, "of the trials, at most")
    parser.add_argument(
        "--prior", required=True, type=number, help="of a target, in what is minimised; at 0.5 that is Cllr"
    )
    parser.add_argument("--output", required=True, type=Path, metavar="JSON", help="the weights")
    stage(parser, run_calibrate, "backend.fusion", ["scores", "trials"], ["output"])


def add_fuse(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `fuse`."""
    parser.add_argument("--fusion", required=True, type=Path, metavar="JSON", help="the weights")
    add_systems(parser)
    add_scored(parser)
    stage(parser, run_fuse, "backend.fusion", ["fusion", "scores", "trials"], ["output", "rejected"])


def add_all(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `score-all`."""
    add_system(parser)
    add_share(parser, "of the utterances of models, at most")
    add_archive(parser, "for each model a vector of scores, in the order of the embeddings")
    parser.set_defaults(run=run_all)


def add_diarize(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `diarize`."""
    add_files(parser, plda_required=True)
    add_embeddings(parser, "the utterances' embeddings")
    parser.add_argument("--reco2utt", required=True, type=Path, help="the utterances of each recording")
    parser.add_argument(
        "--target-energy", required=True, type=share, help="share of a recording's variance that is kept"
    )
    until = parser.add_mutually_exclusive_group(required=True)
    until.add_argument("--threshold", type=number, help="clusters merge down to this mean score")
    until.add_argument("--reco2num-spk", type=Path, help="the number of speakers of each recording")
    add_archive(parser, "for each recording the matrix of scores")
    parser.add_argument("--labels", required=True, type=Path, help="lines `utterance label`, to write")
    parser.set_defaults(run=run_diarize)


def add_adapt(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `adapt-plda`; the defaults are Kaldi's."""
    add_files(parser, plda_required=True)
    add_embeddings(parser, "unlabelled embeddings")
    for name, default in (("mean-diff", 1.0), ("within-covar", 0.3), ("between-covar", 0.7)):
        parser.add_argument(f"--{name}-scale", type=number, default=default, help=f"{default:g} if not given")
    add_plda_output(parser)
    parser.set_defaults(run=run_adapt)


def add_copy(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `copy-plda`."""
    parser.add_argument("--plda", required=True, type=Path, help="the model, binary or text")
    parser.add_argument(
        "--smoothing", type=number, default=0.0, help="share of the between-class covariance added to within"
    )
    add_plda_output(parser)
    parser.set_defaults(run=run_copy)


def add_embeddings(parser: argparse.ArgumentParser, text: str) -> None:
    """Add the index of embeddings."""
    parser.add_argument("--embeddings", required=True, type=Path, metavar="SCP", help=text)


def add_files(
    parser: argparse.ArgumentParser, mean_required: bool = False, plda_required: bool = False
) -> None:
    """Add the files of a back-end, all in Kaldi's formats."""
    parser.add_argument(
        "--mean", required=mean_required, type=Path, help="the vector that is subtracted from embeddings"
    )
    parser.add_argument(
        "--transform", type=Path, help="the LDA transform, with length normalisation after it"
    )
    parser.add_argument("--plda", required=plda_required, type=Path, help="the PLDA model")


def add_plda_output(parser: argparse.ArgumentParser) -> None:
    """Add a PLDA model to write."""
    parser.add_argument("--text", action="store_true", help="write text, of 7 digits, and not float64")
    parser.add_argument("--output", required=True, type=Path, metavar="PLDA", help="the model to write")


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
    parser.add_argument("--enrol", type=Path, metavar="SCP", help="or the models' means themselves")
    parser.add_argument("--enrol-num-utts", type=Path, help="lines `model count`; without, 1 for each")


def add_systems(parser: argparse.ArgumentParser) -> None:
    """Add the score files that are calibrated or fused."""
    parser.add_argument(
        "--scores",
        required=True,
        nargs="+",
        type=partial(named_path, "--scores"),
        metavar="NAME=SCORES",
        help="the scores of each system",
    )


def add_scored(parser: argparse.ArgumentParser) -> None:
    """Add a trial list and what becomes of it."""
    parser.add_argument("--trials", required=True, type=Path, help=TRIALS)
    add_share(parser, "of the trials, and of the utterances of models, at most")
    add_score_outputs(parser)


def add_score_outputs(parser: argparse.ArgumentParser) -> None:
    """Add the files that trials' scores go to."""
    parser.add_argument("--output", required=True, type=Path, help="lines `enrol test score`")
    parser.add_argument(
        "--rejected", required=True, type=Path, metavar="TSV", help="trials without a score, and why"
    )


def add_share(parser: argparse.ArgumentParser, text: str) -> None:
    """Add the share that may be left out."""
    parser.add_argument("--max-rejected", required=True, type=share, metavar="SHARE", help=text)


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
    inputs = options.embeddings, options.spk2utt, options.max_rejected, options.at_most
    write_speaker_means(*inputs, *outputs)


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
        sides(options),
        None if options.cohort is None else (options.cohort, options.cohort_num_utts),
        options.trials,
        options.max_rejected,
        options.output,
        options.rejected,
        options.job,
        options.jobs,
    )


def run_merge_scores(options: argparse.Namespace) -> None:
    """Put the scores of shards together."""
    from spkdistill.backend.scoring import merge_scores

    merge_scores(options.scores_parts, options.rejected_parts, options.output, options.rejected)


def sides(options: argparse.Namespace) -> "Embeddings":
    """Where the vectors of the two sides come from."""
    from spkdistill.backend.scoring import Embeddings

    means = None if options.enrol is None else (options.enrol, options.enrol_num_utts)
    return Embeddings(options.embeddings, options.enrol_spk2utt, means)


def run_all(options: argparse.Namespace) -> None:
    """Score all pairs."""
    from spkdistill.backend.dense import score_all
    from spkdistill.backend.settings import ScoreSettings
    from spkdistill.backend.system import read_system

    settings = ScoreSettings(options.normalize_length, options.simple_length_norm, "none", 2)
    system = read_system(settings, options.mean, options.transform, options.plda)
    score_all(system, sides(options), options.max_rejected, options.ark, options.scp)


def run_calibrate(options: argparse.Namespace) -> None:
    """Learn the weights of systems."""
    from spkdistill.backend.fusion import calibrate

    systems = by_name("--scores", options.scores)
    calibrate(systems, options.trials, options.max_rejected, options.prior, options.output)


def run_fuse(options: argparse.Namespace) -> None:
    """Apply the weights of systems."""
    from spkdistill.backend.fusion import fuse

    systems, outputs = by_name("--scores", options.scores), (options.output, options.rejected)
    fuse(options.fusion, systems, options.trials, options.max_rejected, *outputs)


def run_diarize(options: argparse.Namespace) -> None:
    """Cluster the utterances of recordings."""
    from spkdistill.backend.dense import diarize

    inputs = options.embeddings, options.reco2utt
    until = options.target_energy, options.threshold, options.reco2num_spk
    diarize(plda_system(options), *inputs, *until, options.ark, options.scp, options.labels)


def run_adapt(options: argparse.Namespace) -> None:
    """Adapt a PLDA model."""
    from spkdistill.backend.adapt import adapt_to_embeddings
    from spkdistill.backend.plda import write_plda

    scales = options.mean_diff_scale, options.within_covar_scale, options.between_covar_scale
    adapted = adapt_to_embeddings(plda_system(options), options.embeddings, *scales)
    write_plda(options.output, adapted, binary=not options.text)


def plda_system(options: argparse.Namespace) -> "PldaSystem":
    """The PLDA back-end in the files given."""
    from spkdistill.backend.settings import ScoreSettings
    from spkdistill.backend.system import read_system

    settings = ScoreSettings(True, False, "none", 2)
    return read_system(settings, options.mean, options.transform, options.plda)


def run_copy(options: argparse.Namespace) -> None:
    """Copy a PLDA model."""
    from spkdistill.backend.plda import read_plda, smooth, write_plda

    write_plda(options.output, smooth(read_plda(options.plda), options.smoothing), binary=not options.text)
