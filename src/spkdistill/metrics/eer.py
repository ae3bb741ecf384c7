"""Equal error rate, as Kaldi's compute-eer counts it and on the convex hull of the ROC."""

import numpy as np

from spkdistill.metrics.counts import ErrorCounts, ScoredTrials
from spkdistill.metrics.hull import hull_counts


def eer(counts: ErrorCounts) -> float:
    """The EER, a fraction (Kaldi compute-eer.cc)."""
    return equal_targets(counts) / counts.targets


def eer_threshold(trials: ScoredTrials) -> float:
    """The target score at which compute-eer stops."""
    return float(trials.targets[equal_targets(trials.count())])


def equal_targets(counts: ErrorCounts) -> int:
    """The number p of lost targets at which compute-eer stops.

    compute-eer takes the first p for which the non-target at rank N_non - 1 - floor(p N_non / N_tar) of the
    ascending ones is below target p. Below a target score t are all but fa(t) of the non-targets, so it stops
    at t for the first p >= misses(t) with p >= fa(t) N_tar / N_non, and never after N_tar - 1. The least of
    these over the thresholds is the first, as fa falls where misses rise.
    """
    enough = np.ceil(counts.false_alarms * counts.targets / counts.nontargets)
    return int(min(np.maximum(counts.misses, enough).min(), counts.targets - 1))


def eer_hull(trials: ScoredTrials) -> float:
    """The rate at which the lower convex hull of (P_fa, P_miss) crosses P_fa = P_miss."""
    targets, nontargets = hull_counts(trials)
    p_miss = np.append(0, np.cumsum(targets)) / targets.sum()
    p_fa = 1 - np.append(0, np.cumsum(nontargets)) / nontargets.sum()
    after = int(np.argmax(p_miss >= p_fa))
    (x0, x1), (y0, y1) = p_fa[[after, after - 1]], p_miss[[after, after - 1]]
    return float((x1 * y0 - x0 * y1) / (y0 - x0 - y1 + x1))
