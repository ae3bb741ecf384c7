"""A trained back-end: the files that `spkdistill backend` wrote, and what they make of embeddings."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from spkdistill.arks import read_matrix, read_vector
from spkdistill.backend.inputs import Side
from spkdistill.backend.llr import PairScores, cosine_pairs, plda_pairs, plda_space
from spkdistill.backend.plda import Plda, read_plda
from spkdistill.backend.settings import ScoreSettings
from spkdistill.backend.vectors import affine, normalise_length
from spkdistill.errors import ConfigError, DataError


@dataclass(frozen=True)
class CosineSystem:
    """Cosines of embeddings minus `mean` (D,)."""

    mean: np.ndarray

    def place(self, side: Side) -> Side:
        """The vectors (N, D) at length 1."""
        centred = side.vectors - self.mean
        return replace(side, vectors=normalise_length(centred, side.names, scale_up=False))

    def pairs(self, enrol: Side, test: Side) -> PairScores:
        """The scores of placed vectors."""
        return cosine_pairs(enrol.vectors, test.vectors)


@dataclass(frozen=True)
class PldaSystem:
    """PLDA log likelihood ratios of embeddings minus `mean` (D,), after LDA and length normalisation."""

    settings: ScoreSettings
    mean: np.ndarray
    transform: np.ndarray  # (d, D + 1)
    plda: Plda

    def place(self, side: Side) -> Side:
        """The vectors (N, d) in the space where the model is diagonal."""
        reduced = normalise_length(affine(self.transform, side.vectors - self.mean), side.names)
        lengths = self.settings.normalize_length, self.settings.simple_length_norm
        return replace(side, vectors=plda_space(self.plda, reduced, side.counts, *lengths))

    def pairs(self, enrol: Side, test: Side) -> PairScores:
        """The scores of placed vectors; `test` are single utterances."""
        return plda_pairs(self.plda.psi, enrol.vectors, enrol.counts, test.vectors)


def read_system(
    settings: ScoreSettings, mean_path: Path, transform_path: Path | None, plda_path: Path | None
) -> CosineSystem | PldaSystem:
    """The back-end in Kaldi's files, PLDA if they are all there; DataError where they do not fit together."""
    if (transform_path is None) != (plda_path is None):
        raise ConfigError("score: --transform and --plda go together; without both, scores are cosines")
    mean = finite(mean_path, read_vector(mean_path))
    if transform_path is None or plda_path is None:
        return CosineSystem(mean)
    transform, plda = finite(transform_path, read_matrix(transform_path)), read_plda(plda_path)
    if transform.shape[1] not in (len(mean), len(mean) + 1):
        raise DataError(
            f"{transform_path}: the transform takes {transform.shape[1] - 1} dimensions, and {mean_path} has "
            f"{len(mean)}; take both from one back-end"
        )
    if len(transform) != len(plda.psi):
        raise DataError(
            f"{plda_path}: for {len(plda.psi)} dimensions, and {transform_path} gives {len(transform)}"
        )
    return PldaSystem(settings, mean, transform, plda)


def finite(path: Path, numbers: np.ndarray) -> np.ndarray:
    """`numbers`, those of the file at `path`; DataError where one is NaN or infinite."""
    if not np.isfinite(numbers).all():
        raise DataError(f"{path}: a number is not finite; train the back-end again")
    return numbers
