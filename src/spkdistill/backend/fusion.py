"""The stages `calibrate` and `fuse`: weights from the trials of one list, applied to those of another."""

import logging
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from spkdistill.backend.calibration import Fusion, train_fusion
from spkdistill.backend.scoring import reject
from spkdistill.data.scores import match_scores, read_scores, write_scores
from spkdistill.data.trials import Trials, read_pairs, read_trials, select
from spkdistill.errors import DataError, naming
from spkdistill.files import read_json, write_json

log = logging.getLogger(__name__)


def calibrate(
    systems: Mapping[str, Path], trials_path: Path, max_rejected: float, prior: float, output: Path
) -> None:
    """Write, as JSON, the weight of each system's scores and the offset that make log likelihood ratios.

    DataError where more than the share `max_rejected` of the trials lacks a score.
    """
    trials = read_trials(trials_path)
    scores, missing = read_systems(systems, trials)
    absent = f"{trials_path}: {missing.sum()} of {len(trials)} trials lack a score of a system"
    if missing.sum() > max_rejected * len(trials):
        raise DataError(f"{absent}; score them, or raise data.max_rejected")
    if missing.any():
        log.warning("%s and are left out", absent)
    target = trials.target[~missing]
    with naming(trials_path):
        fusion = train_fusion(scores[~missing], target, prior)
    contents = {
        "weights": dict(zip(systems, fusion.weights.tolist(), strict=True)),
        "offset": fusion.offset,
        "prior": prior,
        "targets": int(target.sum()),
        "nontargets": int((~target).sum()),
        "missing": int(missing.sum()),
    }
    write_json(output, contents)


def fuse(
    fusion_path: Path,
    systems: Mapping[str, Path],
    trials_path: Path,
    max_rejected: float,
    scores_path: Path,
    rejected_path: Path,
) -> None:
    """Write the fused scores of the trials that every system scored, and the others with the reason.

    DataError where more than the share `max_rejected` is left out, or these systems were not calibrated.
    """
    fusion = read_fusion(fusion_path, list(systems))
    trials = read_pairs(trials_path)
    scores, missing = read_systems(systems, trials)
    reasons = dict.fromkeys(np.flatnonzero(missing), "a system has no score of it")
    reject(rejected_path, trials, reasons, max_rejected)
    write_scores(scores_path, select(trials, ~missing), fusion.apply(scores[~missing]))


def read_systems(systems: Mapping[str, Path], trials: Trials) -> tuple[np.ndarray, np.ndarray]:
    """Scores (trials, systems), and which trials (trials,) lack one."""
    scores = np.column_stack([match_scores(read_scores(path), trials, path) for path in systems.values()])
    return scores, np.isnan(scores).any(axis=1)


def read_fusion(path: Path, systems: list[str]) -> Fusion:
    """The weights that `calibrate` wrote, in the order of `systems`."""
    contents = read_json(path)
    try:
        weights = {str(name): float(weight) for name, weight in contents["weights"].items()}
        offset = float(contents["offset"])
    except (AttributeError, KeyError, TypeError, ValueError):
        weights, offset = {}, 0.0
    if not weights or not np.isfinite([*weights.values(), offset]).all():
        raise DataError(f"{path}: expected numbers under weights and offset; calibrate again")
    if weights.keys() != set(systems):
        raise DataError(f"{path}: is for the systems {', '.join(weights)}, not for {', '.join(systems)}")
    return Fusion(np.array([weights[name] for name in systems]), offset)
