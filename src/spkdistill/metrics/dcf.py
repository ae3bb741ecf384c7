"""Minimum detection cost (Kaldi compute_min_dcf.py; NIST SRE 2016 plan, section 3); both errors cost 1."""

import numpy as np

from spkdistill.metrics.counts import ErrorCounts, ScoredTrials


def min_dcf(counts: ErrorCounts, p_target: float) -> np.ndarray:
    """The lowest cost P P_miss + (1 - P) P_fa, (...), over the cost of the better constant answer.

    For P > 1/2 Kaldi's script never tries to accept everything; here that is a decision like any other.
    """
    cost = costs(counts, p_target).min(axis=-1)
    return np.minimum(cost, min(p_target, 1 - p_target)) / min(p_target, 1 - p_target)


def min_dcf_threshold(trials: ScoredTrials, p_target: float) -> float:
    """The highest rejected score at the lowest cost, which is what compute_min_dcf.py calls the threshold.

    Minus infinity where nothing is rejected.
    """
    cost = np.append(costs(trials.count(), p_target), p_target)  # the last: reject all
    accepted = np.append(np.searchsorted(trials.scores, trials.thresholds), len(trials.scores))
    rejected = accepted[cost.argmin()]
    return float(trials.scores[rejected - 1]) if rejected else -np.inf


def costs(counts: ErrorCounts, p_target: float) -> np.ndarray:
    """The cost at each threshold, not normalised."""
    return counts.p_miss * p_target + counts.p_fa * (1 - p_target)
