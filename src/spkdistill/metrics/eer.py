"""Equal error rate, as Kaldi's compute-eer counts it and on the convex hull of the ROC."""

from itertools import pairwise

import numpy as np

from spkdistill.metrics.counts import ErrorCounts


def eer(counts: ErrorCounts) -> np.ndarray:
    """The EER of each resample, (...), a fraction (Kaldi compute-eer.cc)."""
    return equal_targets(counts).min(axis=-1) / counts.targets[..., 0]


def eer_threshold(counts: ErrorCounts, thresholds: np.ndarray) -> float:
    """The target score at which compute-eer stops."""
    lost = equal_targets(counts).min()
    return float(thresholds[np.searchsorted(counts.misses, lost, side="right") - 1])


def equal_targets(counts: ErrorCounts) -> np.ndarray:
    """For each threshold, the smallest number p of lost targets at which compute-eer could stop there.

    compute-eer takes the first p for which the non-target at rank N_non - 1 - floor(p N_non / N_tar) of the
    ascending ones is below target p. Below a target score t are all but fa(t) of the non-targets, so it stops
    at t for the first p >= misses(t) with p >= fa(t) N_tar / N_non, and never after N_tar - 1. The least of
    these over the thresholds is the first, as fa falls where misses rise.
    """
    enough = np.ceil(counts.false_alarms * counts.targets / counts.nontargets)
    return np.minimum(np.maximum(counts.misses, enough), counts.targets - 1)


def eer_hull(counts: ErrorCounts) -> float:
    """The rate at which the lower convex hull of (P_fa, P_miss) crosses P_fa = P_miss."""
    p_fa = np.append(counts.p_fa, 0.0)[::-1]  # ascending, from the threshold that rejects all
    p_miss = np.append(counts.p_miss, 1.0)[::-1]
    hull: list[tuple[float, float]] = []
    for point in [*zip(p_fa.tolist(), p_miss.tolist(), strict=True), (1.0, 0.0)]:
        while len(hull) > 1 and not turns_left(hull[-2], hull[-1], point):
            hull.pop()
        hull.append(point)
    (x0, y0), (x1, y1) = next(pair for pair in pairwise(hull) if pair[1][1] <= pair[1][0])
    return (x1 * y0 - x0 * y1) / (y0 - x0 - y1 + x1)


def turns_left(a: tuple[float, float], b: tuple[float, float], c: tuple[float, float]) -> bool:
    """Whether the way from a over b to c turns left at b, as a lower hull does."""
    return (b[0] - a[0]) * (c[1] - a[1]) > (b[1] - a[1]) * (c[0] - a[0])
