"""Error counts of scored trials at every threshold that matters.

A trial is accepted when its score is at least the threshold. A threshold between two target scores is never
better than the upper one, so the distinct target scores are all that is needed; tied scores are never split.
"""

from dataclasses import dataclass

import numpy as np

from spkdistill.errors import DataError


@dataclass(frozen=True)
class ErrorCounts:
    """Errors at each threshold; leading axes are resamples, whose counts are weighted."""

    misses: np.ndarray  # (..., thresholds) targets below the threshold
    false_alarms: np.ndarray  # (..., thresholds) non-targets at or above it
    targets: np.ndarray  # (..., 1)
    nontargets: np.ndarray  # (..., 1)

    @property
    def p_miss(self) -> np.ndarray:
        """Share of the targets below each threshold."""
        return self.misses / self.targets

    @property
    def p_fa(self) -> np.ndarray:
        """Share of the non-targets at or above each threshold, rounded as compute_min_dcf.py does."""
        return 1 - (self.nontargets - self.false_alarms) / self.nontargets


class ScoredTrials:
    """Scores (trials,) with labels (trials,), sorted once and then counted with any weights of the trials."""

    def __init__(self, scores: np.ndarray, target: np.ndarray) -> None:
        for label, found in (("target", target.any()), ("non-target", not target.all())):
            if not found:
                raise DataError(f"metrics: there is no scored {label} trial; error rates need both kinds")
        order = np.argsort(scores, kind="stable")
        self.scores = scores[order]
        self.target_order = order[target[order]]
        self.nontarget_order = order[~target[order]]
        self.thresholds, self.first_target = np.unique(scores[self.target_order], return_index=True)
        self.first_nontarget = np.searchsorted(scores[self.nontarget_order], self.thresholds)

    def count(self) -> ErrorCounts:
        """The errors with every trial counted once."""
        targets, nontargets = len(self.target_order), len(self.nontarget_order)
        return ErrorCounts(
            self.first_target, nontargets - self.first_nontarget, np.array([targets]), np.array([nontargets])
        )

    def count_weighted(self, target_weights: np.ndarray, nontarget_weights: np.ndarray) -> ErrorCounts:
        """The errors with weights (resamples, targets) and (resamples, non-targets), in sorted order."""
        targets, nontargets = below(target_weights), below(nontarget_weights)
        return ErrorCounts(
            targets[:, self.first_target],
            nontargets[:, -1:] - nontargets[:, self.first_nontarget],
            targets[:, -1:],
            nontargets[:, -1:],
        )


def below(weights: np.ndarray) -> np.ndarray:
    """Sums, (resamples, trials + 1), of the weights before each trial."""
    sums = np.zeros((weights.shape[0], weights.shape[1] + 1))
    np.cumsum(weights, axis=1, out=sums[:, 1:])
    return sums
