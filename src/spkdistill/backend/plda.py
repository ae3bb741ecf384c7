"""Two-covariance PLDA (Kaldi plda.cc): x = mu + y + e, y ~ N(0, B) per speaker, e ~ N(0, W) per utterance."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from spkdistill.arks import reading_object, writing_object
from spkdistill.backend.classes import ClassStats, check, class_stats, fix_signs, singular
from spkdistill.errors import DataError

SINGULAR = 1e-10  # smallest over largest eigenvalue of the within-class scatter


@dataclass(frozen=True)
class Plda:
    """z = transform (x - mean) has within-class covariance I and between-class covariance diag(psi)."""

    mean: np.ndarray  # (D,) float64
    transform: np.ndarray  # (D, D) float64
    psi: np.ndarray  # (D,) float64, descending, not negative


def train_plda(vectors: np.ndarray, classes: np.ndarray, iterations: int) -> Plda:
    """The model of vectors (N, D) in classes (N,) of 0..K-1 after `iterations` of EM from B = W = I.

    DataError where there are fewer than two classes, no class has two vectors, or the within-class scatter is
    singular (Kaldi would return a model whose scores grow without bound as the iterations go on).
    """
    stats = class_stats(vectors, classes)
    check(stats, "PLDA")
    values = np.linalg.eigvalsh(stats.within)
    if not values[0] > SINGULAR * values[-1]:
        raise singular(stats, "PLDA")
    mean = stats.means.mean(axis=0)  # not weighted by the counts
    centred = stats.means - mean
    within = between = np.eye(vectors.shape[1])
    for _ in range(iterations):
        within, between = em_step(centred, stats, within, between)
    transform, psi = diagonalise(within, between)
    return Plda(mean, fix_signs(transform), psi)


def read_plda(path: str | Path) -> Plda:
    """The model in a Kaldi file `<Plda>`, binary or text."""
    with reading_object(path) as reader:
        reader.expect("<Plda>")
        plda = Plda(
            *(part.astype(np.float64) for part in (reader.vector(), reader.matrix(), reader.vector()))
        )
        reader.expect("</Plda>")
    size = len(plda.psi)
    if plda.mean.shape != (size,) or plda.transform.shape != (size, size):
        raise DataError(
            f"{path}: mean {plda.mean.shape}, transform {plda.transform.shape} and psi ({size},) differ"
        )
    if (
        not all(np.isfinite(part).all() for part in (plda.mean, plda.transform, plda.psi))
        or plda.psi.min() < 0
    ):
        raise DataError(
            f"{path}: a number is not finite, or a between-class variance is negative; train it again"
        )
    if np.linalg.matrix_rank(plda.transform) < size:
        raise DataError(f"{path}: the transform is singular; train it again")
    return plda


def write_plda(path: str | Path, plda: Plda, binary: bool = True) -> None:
    """Write the model as ivector-compute-plda does: float64, or text with 7 digits."""
    with writing_object(path, binary) as writer:
        writer.token("<Plda>")
        writer.vector(plda.mean)
        writer.matrix(plda.transform)
        writer.vector(plda.psi)
        writer.token("</Plda>")


def smooth(plda: Plda, factor: float) -> Plda:
    """Add `factor` times the between-class covariance to that within (Plda::SmoothWithinClassCovariance)."""
    scale = 1 + factor * plda.psi
    return Plda(plda.mean, plda.transform / np.sqrt(scale)[:, None], plda.psi / scale)


def project(plda: Plda, transform: np.ndarray) -> Plda:
    """The model of `transform` x, transform (d, D) of full rank (Plda::ApplyTransform)."""
    back = transform @ np.linalg.inv(plda.transform)
    diagonal, psi = diagonalise(back @ back.T, (back * plda.psi) @ back.T)
    return Plda(transform @ plda.mean, diagonal, psi)


def em_step(
    centred: np.ndarray, stats: ClassStats, within: np.ndarray, between: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """One iteration, on class means minus the global one: the new W and B.

    Kaldi inverts B^-1 + n W^-1 for each n. In the space of `diagonalise`, where W = I and B = diag(psi), the
    posterior of a class with mean z of n vectors is plain: covariance c = psi / (1 + n psi), mean w = n c z.
    """
    transform, psi = diagonalise(within, between)
    z = centred @ transform.T  # (K, D)
    sizes, first_of, repeats = np.unique(stats.counts, return_inverse=True, return_counts=True)
    covariance = psi / (1 + sizes[:, None] * psi)  # (sizes, D)
    w = (sizes[:, None] * covariance)[first_of] * z
    residual = np.sqrt(stats.counts)[:, None] * (z - w)
    new_between = (w.T @ w + np.diag(repeats @ covariance)) / len(z)
    spread = residual.T @ residual + np.diag((repeats * sizes) @ covariance)
    back = np.linalg.inv(transform)
    new_within = (stats.within + back @ spread @ back.T) / stats.counts.sum()
    return symmetric(new_within), symmetric(back @ new_between @ back.T)


def diagonalise(within: np.ndarray, between: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A and psi with A W A' = I and A B A' = diag(psi), psi descending (PldaEstimator::GetOutput)."""
    whitening = np.linalg.inv(np.linalg.cholesky(within))
    values, vectors = np.linalg.eigh(symmetric(whitening @ between @ whitening.T))
    return vectors[:, ::-1].T @ whitening, np.maximum(values[::-1], 0.0)


def symmetric(matrix: np.ndarray) -> np.ndarray:
    """The symmetric part: what rounding took from a covariance is given back."""
    return (matrix + matrix.T) / 2
