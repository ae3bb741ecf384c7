"""Detection cost (Kaldi compute_min_dcf.py; NIST SRE 2016 plan, section 3); both errors cost 1."""

import numpy as np

from spkdistill.metrics.counts import ErrorCounts, ScoredTrials


def min_dcf(counts: ErrorCounts, p_target: float) -> float:
    """The lowest cost P P_miss + (1 - P) P_fa over the cost of the better constant answer.

    For P > 1/2 Kaldi's script never tries to accept everything; here that is a decision like any other.
    """
    constant = min(p_target, 1 - p_target)
    return float(min(costs(counts, p_target).min(), constant) / constant)


def act_dcf(counts: ErrorCounts, p_target: float, threshold: int) -> float:
    """The cost at the threshold of that index, normalised like `min_dcf`; it may be above 1."""
    p_miss, p_fa = counts.p_miss[threshold], counts.p_fa[threshold]
    return float((p_miss * p_target + p_fa * (1 - p_target)) / min(p_target, 1 - p_target))


def bayes_threshold(p_target: float) -> float:
    """The least log likelihood ratio, ln((1 - P) / P), at which accepting costs no more than rejecting."""
    return float(np.log((1 - p_target) / p_target))


def min_dcf_threshold(trials: ScoredTrials, p_target: float) -> float:
    """The highest rejected score at the lowest cost, which is what compute_min_dcf.py calls the threshold.

    Minus infinity where nothing is rejected.
    """
    counts = trials.count()
    cost = np.append(costs(counts, p_target), p_target)  # the last: reject all
    misses = np.append(counts.misses, counts.targets)[cost.argmin()]
    rejected = counts.nontargets - np.append(counts.false_alarms, 0)[cost.argmin()]
    return float(max([-np.inf, *trials.targets[:misses][-1:], *trials.nontargets[:rejected][-1:]]))


def costs(counts: ErrorCounts, p_target: float) -> np.ndarray:
    """The cost at each threshold, not normalised."""
    return counts.p_miss * p_target + counts.p_fa * (1 - p_target)
