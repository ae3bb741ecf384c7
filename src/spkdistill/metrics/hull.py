"""The convex hull of the ROC, which is the isotonic regression of the labels on the scores (PAV).

Brümmer and du Preez, "The PAV algorithm optimizes binary proper scoring rules", arXiv 1304.2331.
"""

import numpy as np
from scipy.optimize import isotonic_regression

from spkdistill.metrics.counts import ScoredTrials


def hull_counts(trials: ScoredTrials) -> tuple[np.ndarray, np.ndarray]:
    """Targets and non-targets, (segments,) each, between the vertices of the hull, by ascending score.

    The vertices are among the corners, so the regression runs over what lies between these; tied scores lie
    together.
    """
    counts = trials.count()
    targets = np.diff(np.concatenate([[0], counts.misses, [counts.targets]]))
    nontargets = np.diff(np.concatenate([[0], counts.nontargets - counts.false_alarms, [counts.nontargets]]))
    filled = targets + nontargets > 0
    targets, nontargets = targets[filled], nontargets[filled]
    total = targets + nontargets
    starts = isotonic_regression(targets / total, weights=total).blocks[:-1]
    return np.add.reduceat(targets, starts), np.add.reduceat(nontargets, starts)
