"""The stage `backend`: mean, LDA and PLDA of the training embeddings, in the order of Kaldi's voxceleb/v2."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Any

import numpy as np

from spkdistill.arks import write_matrix, write_vector
from spkdistill.backend.inputs import read_classes, read_embeddings
from spkdistill.backend.lda import train_lda
from spkdistill.backend.plda import smooth, train_plda, write_plda
from spkdistill.backend.vectors import affine, normalise_length
from spkdistill.errors import ConfigError, naming
from spkdistill.settings import build


@dataclass(frozen=True)
class CosineSettings:
    """The cosine of two embeddings, minus the training mean where `subtract_mean`."""

    kind: str
    subtract_mean: bool


@dataclass(frozen=True)
class PldaSettings:
    """LDA to `lda_dim`, length normalisation and PLDA; the names are those of Kaldi's options."""

    kind: str
    lda_dim: int
    total_covariance_factor: float
    em_iterations: int
    smoothing: float
    normalize_length: bool
    simple_length_norm: bool

    def __post_init__(self) -> None:
        """Refuse what would give no model, or one of nonsense (ConfigError)."""
        limits = {"lda_dim": (1, inf), "em_iterations": (1, inf), "smoothing": (0, inf)}
        for name, (least, most) in (limits | {"total_covariance_factor": (0, 1)}).items():
            if not least <= getattr(self, name) <= most:
                value = getattr(self, name)
                raise ConfigError(f"backend.{name}: {value} is not allowed; expected {least} to {most}")


def backend_settings(mapping: Mapping[str, Any]) -> CosineSettings | PldaSettings:
    """The settings of a back-end of the config, by its `kind`."""
    kinds = {"cosine": CosineSettings, "plda": PldaSettings}
    kind = mapping.get("kind")
    if kind not in kinds:
        raise ConfigError(f"backend.kind: expected one of {', '.join(kinds)}, found {kind!r}")
    return build(kinds[kind], mapping, f"backend ({kind})")


def train_backend(
    embeddings_scp: Path,
    utt2spk: Path,
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
    keys, vectors = read_embeddings(embeddings_scp)
    mean = vectors.mean(axis=0, dtype=np.float64)
    if isinstance(settings, CosineSettings):
        write_vector(mean_path, mean if settings.subtract_mean else np.zeros_like(mean))
        return
    classes = read_classes(utt2spk, keys)
    np.subtract(vectors, mean, out=vectors, casting="same_kind")
    with naming(embeddings_scp):
        transform = train_lda(vectors, classes, settings.lda_dim, settings.total_covariance_factor)
        vectors = normalise_length(affine(transform, vectors), keys)
        plda = smooth(train_plda(vectors, classes, settings.em_iterations), settings.smoothing)
    write_vector(mean_path, mean)
    write_matrix(transform_path, transform)
    write_plda(plda_path, plda)
