"""Confidence intervals from resampled speakers.

Trials that share a speaker err together, so resampling trials as if they were independent gives intervals
that are too narrow. Here each resample draws as many speakers as there are, with replacement. A trial between
speakers drawn a and b times counts a b times: once for each pair of draws. A trial of a speaker drawn a times
with themself counts a times: each draw brings the speaker's own trials, and two draws of one are no new pair.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from spkdistill.data.trials import pair_numbers
from spkdistill.metrics.cllr import losses
from spkdistill.metrics.counts import ErrorCounts


@dataclass(frozen=True)
class Groups:
    """Trials of one kind, put together where they lie between the same thresholds and share their speakers.

    Memory is linear in the trials whatever the number of resamples, and the order of the trials is forgotten.
    """

    first: np.ndarray  # (groups,) speaker of one side
    second: np.ndarray  # (groups,) that of the other, or the number of speakers where it is the same one
    size: np.ndarray  # (groups,) trials
    loss: np.ndarray  # (groups,) sum of their losses, in bits
    rejected: np.ndarray  # (thresholds,) groups below each threshold

    def weigh(self, times: np.ndarray) -> np.ndarray:
        """How often each trial of a group counts, (groups,), where speaker s is drawn times[s] times."""
        return times[self.first] * times[self.second]

    def below(self, weights: np.ndarray) -> tuple[np.ndarray, int]:
        """The weighted trials below each threshold, (thresholds,), and all of them."""
        sums = np.cumsum(weights * self.size, dtype=np.int64)
        return np.where(self.rejected > 0, sums[self.rejected - 1], 0), int(sums[-1])

    def mean_loss(self, weights: np.ndarray, trials: int) -> float:
        """The mean of the losses, in bits, of `trials` weighted trials."""
        return float((weights * self.loss).sum() / trials)


class GroupedTrials:
    """The trials of a system, grouped to be counted again and again with the weights of drawn speakers."""

    def __init__(
        self, scores: np.ndarray, target: np.ndarray, speakers: np.ndarray, thresholds: np.ndarray
    ) -> None:
        """`scores` and `target` are (trials,), `speakers` (trials, 2) numbers 0..S-1; of both kinds some."""
        self.speakers = int(speakers.max()) + 1
        self.targets, self.nontargets = (
            group(scores[kind], losses(scores[kind], label), speakers[kind], self.speakers, thresholds)
            for kind, label in ((target, True), (~target, False))
        )

    def weigh(self, times: np.ndarray) -> "Weights":
        """The weights of the groups; `times` (S + 1,) ends with a 1."""
        return Weights(self, self.targets.weigh(times), self.nontargets.weigh(times))


@dataclass(frozen=True)
class Weights:
    """How often the trials of a system count."""

    trials: GroupedTrials
    targets: np.ndarray  # (groups of targets,)
    nontargets: np.ndarray  # (groups of non-targets,)

    @cached_property
    def counts(self) -> ErrorCounts:
        """The errors at each threshold."""
        misses, targets = self.trials.targets.below(self.targets)
        rejected, nontargets = self.trials.nontargets.below(self.nontargets)
        return ErrorCounts(misses, nontargets - rejected, targets, nontargets)

    def cllr(self) -> float:
        """Cllr, in bits."""
        of_targets = self.trials.targets.mean_loss(self.targets, self.counts.targets)
        of_nontargets = self.trials.nontargets.mean_loss(self.nontargets, self.counts.nontargets)
        return (of_targets + of_nontargets) / 2


def group(
    scores: np.ndarray, loss: np.ndarray, speakers: np.ndarray, total: int, thresholds: np.ndarray
) -> Groups:
    """The groups of the trials (trials,) of one kind, with the speakers (trials, 2) out of `total`."""
    first, second = speakers.T
    pairs = pair_numbers(first, np.where(first == second, total, second), total + 1)
    reached = np.searchsorted(thresholds, scores, side="right")  # thresholds at or below each score
    order = np.lexsort((scores, pairs, reached))
    pairs, reached = pairs[order], reached[order]
    starts = np.flatnonzero(np.append(True, (np.diff(reached) > 0) | (np.diff(pairs) != 0)))
    return Groups(
        *np.divmod(pairs[starts], total + 1),
        np.diff(starts, append=len(order)),
        np.add.reduceat(loss[order], starts),
        np.searchsorted(reached[starts], np.arange(len(thresholds)), side="right"),
    )


def resample(systems: list[GroupedTrials], samples: int, rng: np.random.Generator) -> Iterator[list[Weights]]:
    """`samples` times the weights of each system, all on the same drawn speakers.

    A resample that draws no target or no non-target trial has no error rates; another is drawn in its place.
    """
    total = systems[0].speakers
    times = np.ones(total + 1, dtype=np.int32)
    while samples > 0:
        times[:-1] = rng.multinomial(total, np.full(total, 1 / total))
        weights = [system.weigh(times) for system in systems]
        if weights[0].targets.any() and weights[0].nontargets.any():
            samples -= 1
            yield weights


def interval(values: np.ndarray, confidence: float) -> tuple[float, float]:
    """The percentile interval of resampled values, (samples,)."""
    low, high = np.quantile(values, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def two_sided_p(differences: np.ndarray) -> float:
    """Twice the smaller share of resampled differences on one side of zero, itself counted as one of them."""
    smaller = min(np.count_nonzero(differences <= 0), np.count_nonzero(differences >= 0))
    return float(min(1.0, 2 * (smaller + 1) / (len(differences) + 1)))


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values adjusted for their number (Holm 1979): the k-th least of m times m - k + 1, never falling."""
    order = np.argsort(p_values, kind="stable")
    steps = np.asarray(p_values)[order] * np.arange(len(p_values), 0, -1)
    adjusted = np.empty(len(p_values))
    adjusted[order] = np.maximum.accumulate(steps).clip(max=1)
    return adjusted.tolist()
