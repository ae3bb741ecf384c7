"""Vectors grouped by class (speaker): counts, means and scatter, in float64 and bounded memory."""

from dataclasses import dataclass

import numpy as np

from spkdistill.errors import DataError

BLOCK = 8192  # rows that are converted to float64 at a time


@dataclass(frozen=True)
class ClassStats:
    """What LDA and PLDA need of N vectors of D dimensions in K classes."""

    counts: np.ndarray  # (K,) int64, vectors of each class
    means: np.ndarray  # (K, D) float64
    within: np.ndarray  # (D, D) float64, sum over the vectors of (x - m_k)(x - m_k)'


def class_stats(vectors: np.ndarray, classes: np.ndarray) -> ClassStats:
    """Statistics of vectors (N, D) in classes (N,), integers of which each of 0..K-1 is present."""
    order = np.argsort(classes, kind="stable")
    counts = np.bincount(classes)
    starts = np.cumsum(counts) - counts
    means = np.add.reduceat(vectors[order], starts, axis=0, dtype=np.float64) / counts[:, None]
    within = np.zeros((vectors.shape[1],) * 2)
    for first in range(0, len(vectors), BLOCK):
        block = slice(first, first + BLOCK)
        residual = vectors[block] - means[classes[block]]
        within += residual.T @ residual
    return ClassStats(counts, means, within)


def check(stats: ClassStats, model: str) -> None:
    """Refuse classes that say nothing of the covariance between classes or of that within them."""
    if len(stats.counts) < 2:
        raise DataError(f"{model}: training needs two speakers or more, found one; add speakers")
    if stats.counts.sum() == len(stats.counts):
        raise DataError(f"{model}: every speaker has one utterance only; give some speakers two or more")


def singular(stats: ClassStats, model: str) -> DataError:
    """The error for a within-class covariance that is zero in a direction in which the classes differ."""
    return DataError(
        f"{model}: the within-speaker covariance is singular ({len(stats.within)} dimensions, "
        f"{stats.counts.sum()} utterances, {len(stats.counts)} speakers); add utterances, or use a smaller "
        "embedding or kind cosine"
    )


def fix_signs(rows: np.ndarray) -> np.ndarray:
    """Rows whose sign is free, turned so that the entry of largest magnitude is positive."""
    largest = np.take_along_axis(rows, np.abs(rows).argmax(axis=1)[:, None], axis=1)
    return rows * np.where(largest < 0, -1.0, 1.0)
