"""PLDA adapted to unlabelled vectors of another domain (Kaldi plda.cc, PldaUnsupervisedAdaptor)."""

import numpy as np

from spkdistill.backend.plda import Plda, diagonalise, symmetric
from spkdistill.errors import DataError


def adapt_plda(
    plda: Plda,
    vectors: np.ndarray,
    mean_diff_scale: float,
    within_covar_scale: float,
    between_covar_scale: float,
) -> Plda:
    """The model with the mean of `vectors` (N, D), and wider where they vary more than it expects.

    In the space where the model's total covariance is I, each direction whose variance s among the vectors is
    above 1 gets within_covar_scale (s - 1) more within-class and between_covar_scale (s - 1) more
    between-class covariance. The variance includes mean_diff_scale times that of the shift of the mean.
    DataError where there are fewer than two vectors.
    """
    if len(vectors) < 2:
        raise DataError(f"adaptation needs two embeddings or more, found {len(vectors)}; add utterances")
    mean = vectors.mean(axis=0)
    centred, shift = vectors - mean, mean - plda.mean
    variance = centred.T @ centred / len(vectors) + mean_diff_scale * np.outer(shift, shift)
    to_unit = plda.transform / np.sqrt(1 + plda.psi)[:, None]  # W + B becomes I
    values, directions = np.linalg.eigh(symmetric(to_unit @ variance @ to_unit.T))
    excess = np.diag(np.maximum(values - 1, 0))
    within = (directions.T / (1 + plda.psi)) @ directions + within_covar_scale * excess
    between = (directions.T * (plda.psi / (1 + plda.psi))) @ directions + between_covar_scale * excess
    transform, psi = diagonalise(within, between)
    return Plda(mean, transform @ directions.T @ to_unit, psi)
