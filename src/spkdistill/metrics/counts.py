"""Error counts of scored trials at every threshold that matters.

A trial is accepted when its score is at least the threshold; tied scores are never split. A threshold between
two target scores is never better than the upper one, and of target scores with no non-target between them the
lowest is the best. These corners of the curve of errors are all that the least of any cost needs.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from spkdistill.errors import DataError


@dataclass(frozen=True)
class ErrorCounts:
    """Errors at ascending thresholds; trials may be weighted by whole numbers."""

    misses: np.ndarray  # (thresholds,) targets below the threshold
    false_alarms: np.ndarray  # (thresholds,) non-targets at or above it
    targets: int
    nontargets: int

    @cached_property
    def p_miss(self) -> np.ndarray:
        """Share of the targets below each threshold."""
        return self.misses / self.targets

    @cached_property
    def p_fa(self) -> np.ndarray:
        """Share of the non-targets at or above each threshold, rounded as compute_min_dcf.py does."""
        return 1 - (self.nontargets - self.false_alarms) / self.nontargets


class ScoredTrials:
    """Sorted scores of either kind, and the thresholds to count at: the corners and what is `fixed`."""

    def __init__(self, scores: np.ndarray, target: np.ndarray, fixed: Sequence[float] = ()) -> None:
        """`scores` and `target` (bool) are (trials,); DataError where one kind is absent."""
        for label, found in (("target", target.any()), ("non-target", not target.all())):
            if not found:
                raise DataError(f"metrics: there is no scored {label} trial; error rates need both kinds")
        self.targets, self.nontargets = np.sort(scores[target]), np.sort(scores[~target])
        below = np.searchsorted(self.nontargets, self.targets)  # non-targets below each target
        corner = np.append(True, below[1:] > below[:-1])
        self.thresholds = np.union1d(self.targets[corner], fixed)

    def count(self) -> ErrorCounts:
        """The errors with every trial counted once."""
        misses = np.searchsorted(self.targets, self.thresholds)
        rejected = np.searchsorted(self.nontargets, self.thresholds)
        return ErrorCounts(misses, len(self.nontargets) - rejected, len(self.targets), len(self.nontargets))
