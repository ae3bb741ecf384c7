"""The stages `calibrate` and `fuse`: weights from the trials of one list, applied to those of another."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from spkdistill.backend.calibration import Fusion, train_fusion
from spkdistill.backend.scoring import reject
from spkdistill.data.scores import match_scores, read_scores, write_scores
from spkdistill.data.trials import Trials, read_trials, select
from spkdistill.errors import DataError, naming
from spkdistill.files import read_json, write_json


def calibrate(score_paths: Sequence[Path], trials_path: Path, prior: float, output: Path) -> None:
    """Write, as JSON, the weights of score files and the offset that turn them into log likelihood ratios."""
    trials = read_trials(trials_path)
    scores, missing = read_systems(score_paths, trials)
    target = trials.target[~missing]
    with naming(trials_path):
        fusion = train_fusion(scores[~missing], target, prior)
    contents = {
        "weights": fusion.weights.tolist(),
        "offset": fusion.offset,
        "prior": prior,
        "targets": int(target.sum()),
        "nontargets": int((~target).sum()),
        "missing": int(missing.sum()),
    }
    write_json(output, contents)


def fuse(
    fusion_path: Path,
    score_paths: Sequence[Path],
    trials_path: Path,
    max_rejected: float,
    scores_path: Path,
    rejected_path: Path,
) -> None:
    """Write the fused scores of the trials that every system scored, and the others with the reason.

    DataError where more than the share `max_rejected` is left out, or there are more or fewer weights.
    """
    fusion = read_fusion(fusion_path)
    if len(fusion.weights) != len(score_paths):
        raise DataError(
            f"{fusion_path}: has weights for {len(fusion.weights)} systems, found {len(score_paths)} score "
            "files; calibrate these together"
        )
    trials = read_trials(trials_path)
    scores, missing = read_systems(score_paths, trials)
    reasons = dict.fromkeys(np.flatnonzero(missing), "a system has no score of it")
    reject(rejected_path, trials, reasons, max_rejected)
    write_scores(scores_path, select(trials, ~missing), fusion.apply(scores[~missing]))


def read_systems(score_paths: Sequence[Path], trials: Trials) -> tuple[np.ndarray, np.ndarray]:
    """Scores (trials, systems), and which trials (trials,) lack one."""
    scores = np.column_stack([match_scores(read_scores(path), trials, path) for path in score_paths])
    return scores, np.isnan(scores).any(axis=1)


def read_fusion(path: Path) -> Fusion:
    """The weights that `calibrate` wrote."""
    contents = read_json(path)
    try:
        weights, offset = np.array(contents["weights"], dtype=np.float64), float(contents["offset"])
    except (KeyError, TypeError, ValueError):
        weights, offset = np.empty(0), 0.0
    if weights.ndim != 1 or not len(weights) or not np.isfinite([*weights, offset]).all():
        raise DataError(f"{path}: expected numbers under weights and offset; calibrate again")
    return Fusion(weights, offset)
