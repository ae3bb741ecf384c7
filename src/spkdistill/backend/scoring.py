"""The stage `score`: every trial whose two sides have embeddings gets a score; the others are listed."""

from pathlib import Path

import numpy as np

from spkdistill.backend.inputs import Side, read_cohort, speaker_means, utterances
from spkdistill.backend.score_norm import normalise_scores
from spkdistill.backend.settings import ScoreSettings
from spkdistill.backend.system import CosineSystem, PldaSystem
from spkdistill.data.scores import write_scores
from spkdistill.data.trials import Trials, read_trials, select
from spkdistill.errors import ConfigError, DataError
from spkdistill.files import write_tsv


def score(
    settings: ScoreSettings,
    system: CosineSystem | PldaSystem,
    embeddings_scp: Path,
    enrol_spk2utt: Path | None,
    cohort: tuple[Path, Path] | None,
    trials_path: Path,
    max_rejected: float,
    scores_path: Path,
    rejected_path: Path,
) -> None:
    """Write the lines "enrol test score" in the order of the trials, and those left out with the reason.

    With `enrol_spk2utt` the enrolled side names its speakers, else utterances; `cohort` is that of
    `write_speaker_means`. DataError where more than the share `max_rejected` is left out.
    """
    if (settings.score_norm == "none") != (cohort is None):
        raise ConfigError(
            f"score: --cohort goes with score normalisation, and score_norm is {settings.score_norm}"
        )
    test = utterances(embeddings_scp)
    check_dimension(system, test, embeddings_scp)
    enrol = test if enrol_spk2utt is None else speaker_means(enrol_spk2utt, test, max_rejected)
    trials = read_trials(trials_path)
    first, second = rows_of(enrol, trials, trials.enrol), rows_of(test, trials, trials.test)
    missing = (first < 0) | (second < 0)
    reasons = {i: f"no embedding of {trials.pair(i)[int(first[i] >= 0)]}" for i in np.flatnonzero(missing)}
    reject(rejected_path, trials, reasons, max_rejected)
    trials, first, second = select(trials, ~missing), first[~missing], second[~missing]
    placed_test = system.place(test)
    placed_enrol = placed_test if enrol is test else system.place(enrol)
    scores = system.pairs(placed_enrol, placed_test).of(first, second)
    if cohort is not None:
        others = read_cohort(*cohort)
        check_dimension(system, others, cohort[0])
        sides = {"enrol": (placed_enrol, first), "test": (placed_test, second)}
        scores = normalise_scores(scores, system, sides, others, settings.score_norm, settings.cohort_top)
    write_scores(scores_path, trials, scores)


def check_dimension(system: CosineSystem | PldaSystem, side: Side, path: Path) -> None:
    """DataError where the back-end is not for embeddings of this size."""
    if len(system.mean) != side.vectors.shape[1]:
        raise DataError(
            f"{path}: the embeddings have {side.vectors.shape[1]} dimensions, and the back-end is for "
            f"{len(system.mean)}; train it on this model's embeddings"
        )


def rows_of(side: Side, trials: Trials, names: np.ndarray) -> np.ndarray:
    """The row in `side`, or -1, of each of `names`, (trials,), indices into the names of the trials."""
    row_of = {name: row for row, name in enumerate(side.names)}
    return np.array([row_of.get(name, -1) for name in trials.names])[names]


def reject(path: Path, trials: Trials, reasons: dict[int, str], limit: float) -> None:
    """List the trials that get no score; DataError where they are more than the share `limit`, or all."""
    write_tsv(path, ["enrol", "test", "reason"], [[*trials.pair(i), reason] for i, reason in reasons.items()])
    if len(reasons) > limit * len(trials) or len(reasons) == len(trials):
        raise DataError(
            f"{path}: {len(reasons)} of {len(trials)} trials have no score ({next(iter(reasons.values()))}, "
            "...); add what is missing, or raise data.max_rejected"
        )
