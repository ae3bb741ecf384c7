"""Linear discriminant analysis (Kaldi ivector-compute-lda.cc)."""

import logging

import numpy as np

from spkdistill.backend.classes import check, class_stats, fix_signs, singular

COVARIANCE_FLOOR = 1e-6  # of the largest eigenvalue; Kaldi's --covariance-floor
NO_BETWEEN = 1e-8  # a between-class eigenvalue this small beside the largest is rounding
NO_WITHIN = 1e5  # a direction whose between-class variance is so many times that within has none within

log = logging.getLogger(__name__)


def train_lda(
    vectors: np.ndarray, classes: np.ndarray, dim: int, total_covariance_factor: float
) -> np.ndarray:
    """The affine transform [A, -A m], (dim, D + 1) float32, of vectors (N, D) in classes (N,) of 0..K-1.

    With f the total covariance factor, A whitens (1-f) S_W + f S_T and keeps the `dim` directions of largest
    between-class variance, or all there are (K - 1 or D at most; logged); m is the mean. The sign of a row is
    free: its largest entry is made positive. DataError where there is one class, no class has two vectors, or
    a kept direction has no within-class variance (Kaldi's floor would let it drown the others).
    """
    stats = class_stats(vectors, classes)
    check(stats, "LDA")
    if not stats.within.any():
        raise singular(stats, "LDA")
    total = len(vectors)
    mean = stats.counts @ stats.means / total
    offsets = np.sqrt(stats.counts)[:, None] * (stats.means - mean)
    within, between = stats.within / total, offsets.T @ offsets / total
    whitening = whitening_transform(within + total_covariance_factor * between)  # S_T = S_W + S_B
    variances, directions = np.linalg.eigh(whitening @ between @ whitening.T)
    possible = np.count_nonzero(variances > NO_BETWEEN * variances[-1])
    if possible < dim:
        log.warning("lda_dim %d: speakers differ in %d dimensions only, which are kept", dim, possible)
    linear = fix_signs(directions[:, ::-1][:, : min(dim, possible)].T @ whitening)
    kept_between, kept_within = (((linear @ part) * linear).sum(axis=1) for part in (between, within))
    if not (kept_between < NO_WITHIN * kept_within).all():
        raise singular(stats, "LDA")
    return np.hstack([linear, -(linear @ mean)[:, None]]).astype(np.float32)


def whitening_transform(covariance: np.ndarray) -> np.ndarray:
    """T with T C T' = I, but for eigenvalues of C below the floor, which count as the floor."""
    values, vectors = np.linalg.eigh(covariance)
    return (vectors / np.sqrt(np.maximum(values, COVARIANCE_FLOOR * values[-1]))).T
