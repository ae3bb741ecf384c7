"""Confidence intervals from resampled speakers.

Trials that share a speaker err together, so resampling trials as if they were independent gives intervals
that are too narrow. Here each resample draws as many speakers as there are, with replacement. A trial between
speakers drawn a and b times counts a b times: once for each pair of draws. A trial of a speaker drawn a times
with themself counts a times: each draw brings the speaker's own trials, and two draws of one are no new pair.
"""

from collections.abc import Iterator

import numpy as np

from spkdistill.metrics.counts import ErrorCounts, ScoredTrials

BLOCK_WEIGHTS = 1 << 17  # weights held at a time


def resampled_counts(
    systems: list[ScoredTrials], speakers: np.ndarray, samples: int, rng: np.random.Generator
) -> Iterator[list[ErrorCounts]]:
    """Blocks of resamples, `samples` in all: the error counts of each system, on the same drawn speakers.

    speakers: (trials, 2), the numbers 0..S-1 of the speakers of the two sides. A resample that draws no
    target or no non-target trial has no error rates; another is drawn in its place.
    """
    total = int(speakers.max()) + 1
    first, second = speakers.T
    second = np.where(first == second, total, second)  # a speaker who is always drawn once
    sides = [
        [(first[order], second[order]) for order in (system.target_order, system.nontarget_order)]
        for system in systems
    ]
    rows = max(1, BLOCK_WEIGHTS // len(speakers))
    drawn = 0
    while drawn < samples:
        wanted = min(rows, samples - drawn)
        multiplicity = np.ones((wanted, total + 1))
        multiplicity[:, :-1] = rng.multinomial(total, np.full(total, 1 / total), size=wanted)
        blocks = [
            system.count_weighted(*(trial_weights(multiplicity, *pair) for pair in pairs))
            for system, pairs in zip(systems, sides, strict=True)
        ]
        usable = (blocks[0].targets * blocks[0].nontargets)[:, 0] > 0
        drawn += np.count_nonzero(usable)
        yield [keep(counts, usable) for counts in blocks]


def trial_weights(multiplicity: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """How often each trial counts, (resamples, trials); `multiplicity` is (resamples, S + 1)."""
    weights = np.take(multiplicity, first, axis=1)
    weights *= np.take(multiplicity, second, axis=1)
    return weights


def keep(counts: ErrorCounts, rows: np.ndarray) -> ErrorCounts:
    """The counts of some resamples."""
    parts = (counts.misses, counts.false_alarms, counts.targets, counts.nontargets)
    return ErrorCounts(*(part[rows] for part in parts))


def interval(values: np.ndarray, confidence: float) -> tuple[float, float]:
    """The percentile interval of resampled values, (samples,)."""
    low, high = np.quantile(values, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def two_sided_p(differences: np.ndarray) -> float:
    """Twice the smaller share of resampled differences on one side of zero, itself counted as one of them."""
    smaller = min(np.count_nonzero(differences <= 0), np.count_nonzero(differences >= 0))
    return float(min(1.0, 2 * (smaller + 1) / (len(differences) + 1)))
