"""The stage `backend`: mean, LDA and PLDA of the training embeddings, in the order of Kaldi's voxceleb/v2.

With an `adapt_set`, as in Kaldi's sre16/v2, that set's mean takes the place of the training set's wherever
embeddings are scored, and PLDA is adapted to its embeddings, of which no speaker is known.
"""

from pathlib import Path

import numpy as np

from spkdistill.arks import write_matrix, write_vector
from spkdistill.backend.adapt import adapt_plda
from spkdistill.backend.inputs import read_classes, read_embeddings
from spkdistill.backend.lda import train_lda
from spkdistill.backend.plda import Plda, smooth, train_plda, write_plda
from spkdistill.backend.settings import CosineSettings, PldaSettings
from spkdistill.backend.vectors import affine, normalise_length
from spkdistill.errors import ConfigError, DataError, naming


def train_backend(
    embeddings_scp: Path,
    utt2spk: Path,
    adapt_scp: Path | None,
    settings: CosineSettings | PldaSettings,
    mean_path: Path,
    transform_path: Path | None,
    plda_path: Path | None,
) -> None:
    """Write the files of a back-end: the mean, or zeros in its place; for PLDA the transform and model."""
    if isinstance(settings, PldaSettings) != (transform_path is not None and plda_path is not None):
        raise ConfigError(
            f"backend: --transform and --plda go with kind plda, and the kind is {settings.kind}"
        )
    if (settings.adapt_set is None) != (adapt_scp is None):
        raise ConfigError(f"backend: --adapt goes with adapt_set, and that is {settings.adapt_set}")
    keys, vectors = read_embeddings(embeddings_scp)
    mean = vectors.mean(axis=0, dtype=np.float64)
    adapt_keys, adapt_vectors = (keys, vectors) if adapt_scp is None else read_embeddings(adapt_scp)
    if adapt_vectors.shape[1] != len(mean):
        raise DataError(
            f"{adapt_scp}: {adapt_vectors.shape[1]} dimensions, and {embeddings_scp} has {len(mean)}; "
            "take both from one model"
        )
    adapt_mean = adapt_vectors.mean(axis=0, dtype=np.float64)
    if isinstance(settings, CosineSettings):
        write_vector(mean_path, adapt_mean if settings.subtract_mean else np.zeros_like(mean))
        return
    classes = read_classes(utt2spk, keys)
    with naming(embeddings_scp):
        np.subtract(vectors, mean, out=vectors, casting="same_kind")
        transform = train_lda(vectors, classes, settings.lda_dim, settings.total_covariance_factor)
        reduced = normalise_length(affine(transform, vectors), keys)
        plda = smooth(train_plda(reduced, classes, settings.em_iterations), settings.smoothing)
    if adapt_scp is not None:
        with naming(adapt_scp):
            reduced = normalise_length(affine(transform, adapt_vectors - adapt_mean), adapt_keys)
            plda = adapt(plda, reduced, settings)
    write_vector(mean_path, adapt_mean)
    write_matrix(transform_path, transform)
    write_plda(plda_path, plda)


def adapt(plda: Plda, vectors: np.ndarray, settings: PldaSettings) -> Plda:
    """The model adapted to `vectors` (N, d) with the scales of the settings."""
    scales = settings.mean_diff_scale, settings.within_covar_scale, settings.between_covar_scale
    return adapt_plda(plda, vectors, *scales)
