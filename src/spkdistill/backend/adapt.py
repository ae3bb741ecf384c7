"""PLDA adapted to unlabelled vectors of another domain (Kaldi plda.cc, PldaUnsupervisedAdaptor)."""

from pathlib import Path

import numpy as np

from spkdistill.backend.inputs import utterances
from spkdistill.backend.plda import Plda, diagonalise, symmetric
from spkdistill.backend.system import PldaSystem
from spkdistill.errors import ConfigError, DataError, naming


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
    DataError where there are fewer than two vectors, ConfigError for a negative scale.
    """
    if min(mean_diff_scale, within_covar_scale, between_covar_scale) < 0:
        raise ConfigError("adaptation: a scale is negative; expected 0 or more")
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


def adapt_to_embeddings(
    system: PldaSystem,
    embeddings_scp: Path,
    mean_diff_scale: float,
    within_covar_scale: float,
    between_covar_scale: float,
) -> Plda:
    """`adapt_plda` to the embeddings of an scp, reduced as the back-end reduces them."""
    side = utterances(embeddings_scp)
    with naming(embeddings_scp):
        vectors = system.reduction.apply(side).astype(np.float64)
        return adapt_plda(system.plda, vectors, mean_diff_scale, within_covar_scale, between_covar_scale)
