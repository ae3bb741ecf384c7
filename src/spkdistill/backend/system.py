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
class Reduction:
    """What is done with embeddings first: minus `mean`, then LDA and length normalisation."""

    size: int | None  # of the embeddings; None where only their use in a cosine says
    mean: np.ndarray | None  # (D,)
    transform: np.ndarray | None  # (d, D + 1)

    def apply(self, side: Side) -> np.ndarray:
        """The reduced vectors, (N, D) or (N, d); DataError where the embeddings are of another size."""
        found = side.vectors.shape[1]
        if self.size not in (None, found):
            raise DataError(
                f"the embeddings have {found} dimensions, and the back-end is for {self.size}; train it on "
                "this model's embeddings"
            )
        vectors = side.vectors if self.mean is None else side.vectors - self.mean
        if self.transform is None:
            return vectors
        return normalise_length(affine(self.transform, vectors), side.names)


@dataclass(frozen=True)
class CosineSystem:
    """Cosines of embeddings."""

    reduction: Reduction

    def place(self, side: Side) -> Side:
        """The vectors (N, D) at length 1."""
        vectors = normalise_length(self.reduction.apply(side), side.names, scale_up=False)
        return replace(side, vectors=vectors)

    def pairs(self, enrol: Side, test: Side) -> PairScores:
        """The scores of placed vectors."""
        return cosine_pairs(enrol.vectors, test.vectors)


@dataclass(frozen=True)
class PldaSystem:
    """PLDA log likelihood ratios of embeddings."""

    reduction: Reduction
    settings: ScoreSettings
    plda: Plda

    def place(self, side: Side) -> Side:
        """The vectors (N, d) in the space where the model is diagonal."""
        lengths = self.settings.normalize_length, self.settings.simple_length_norm
        return replace(side, vectors=plda_space(self.plda, self.reduction.apply(side), side.counts, *lengths))

    def pairs(self, enrol: Side, test: Side) -> PairScores:
        """The scores of placed vectors; `test` are single utterances."""
        return plda_pairs(self.plda.psi, enrol.vectors, enrol.counts, test.vectors)


def read_system(
    settings: ScoreSettings, mean_path: Path | None, transform_path: Path | None, plda_path: Path | None
) -> CosineSystem | PldaSystem:
    """The back-end in Kaldi's files, of which any may be left out; without a PLDA model it gives cosines."""
    if plda_path is None:
        if transform_path is not None:
            raise ConfigError("--transform: goes with --plda; without both, scores are cosines")
        return CosineSystem(read_reduction(mean_path, None, None, 0))
    plda = read_plda(plda_path)
    return PldaSystem(read_reduction(mean_path, transform_path, plda_path, len(plda.psi)), settings, plda)


def read_reduction(
    mean_path: Path | None, transform_path: Path | None, plda_path: Path | None, size: int
) -> Reduction:
    """Mean and transform to the `size` dimensions of the PLDA model; DataError where they do not fit."""
    mean = None if mean_path is None else finite(mean_path, read_vector(mean_path))
    transform = None if transform_path is None else finite(transform_path, read_matrix(transform_path))
    entry = None if mean is None else len(mean)
    if transform is not None:
        if len(transform) != size:
            raise DataError(
                f"{plda_path}: for {size} dimensions, and {transform_path} gives {len(transform)}"
            )
        if entry is None:
            entry = transform.shape[1] - 1
        elif transform.shape[1] not in (entry, entry + 1):
            raise DataError(
                f"{transform_path}: the transform takes {transform.shape[1] - 1} dimensions, and {mean_path} "
                f"has {entry}; take both from one back-end"
            )
    elif plda_path is not None:
        if entry not in (None, size):
            raise DataError(
                f"{plda_path}: for {size} dimensions, and {mean_path} has {entry}; give --transform"
            )
        entry = size
    return Reduction(entry, mean, transform)


def finite(path: Path, numbers: np.ndarray) -> np.ndarray:
    """`numbers`, those of the file at `path`; DataError where one is NaN or infinite."""
    if not np.isfinite(numbers).all():
        raise DataError(f"{path}: a number is not finite; train the back-end again")
    return numbers
