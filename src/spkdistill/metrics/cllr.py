"""Cost of log likelihood ratios in bits (Brümmer and du Preez 2006, doi 10.1016/j.csl.2005.08.001).

Cllr is the cost of the scores as they are, taken as natural-log likelihood ratios: 1 is that of scores that
say nothing. min Cllr is what is left when the best monotonic map has calibrated them.
"""

import numpy as np
from scipy.special import xlog1py

from spkdistill.metrics.counts import ScoredTrials
from spkdistill.metrics.hull import hull_counts

LARGEST = 1e100  # a score beyond it costs no more than it, so that sums of losses do not overflow


def losses(scores: np.ndarray, target: bool) -> np.ndarray:
    """The cost of each score, in bits: log2(1 + e^-s) of a target, log2(1 + e^s) of a non-target."""
    scores = scores.clip(-LARGEST, LARGEST)
    return np.logaddexp(0, -scores if target else scores) / np.log(2)


def min_cllr(trials: ScoredTrials) -> float:
    """Cllr after PAV, where t of T targets and n of N non-targets on a side of the hull have odds tN / nT."""
    targets, nontargets = hull_counts(trials)
    with np.errstate(divide="ignore"):
        odds = (targets / targets.sum()) / (nontargets / nontargets.sum())
        bits = (
            xlog1py(targets, 1 / odds).sum() / targets.sum()
            + xlog1py(nontargets, odds).sum() / nontargets.sum()
        )
    return float(bits / (2 * np.log(2)))
