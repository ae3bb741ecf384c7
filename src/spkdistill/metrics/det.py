"""Points of a detection error trade-off curve."""

import numpy as np

from spkdistill.metrics.counts import ErrorCounts


def det_curve(counts: ErrorCounts, points: int = 200) -> tuple[np.ndarray, np.ndarray]:
    """P_miss ascending and P_fa descending, at most `points` of each, from accept-all to reject-all.

    Thresholds are thinned to even steps along the curve on logit axes, close to the probit axes of the plot.
    """
    p_miss = np.concatenate([[0.0], counts.p_miss, [1.0]])
    p_fa = np.concatenate([[1.0], counts.p_fa, [0.0]])
    steps = np.abs(np.diff(logit(p_miss, counts.targets))) + np.abs(np.diff(logit(p_fa, counts.nontargets)))
    way = np.append(0.0, np.cumsum(steps))
    chosen = np.unique(np.append(np.searchsorted(way, np.linspace(0, way[-1], points - 1)), len(way) - 1))
    return p_miss[chosen], p_fa[chosen]


def logit(rate: np.ndarray, trials: int) -> np.ndarray:
    """ln(p / (1 - p)), with 0 and 1 taken as half a trial from the end."""
    rate = rate.clip(0.5 / trials, 1 - 0.5 / trials)
    return np.log(rate / (1 - rate))
