"""Embeddings on their way to a back-end: transformed and length-normalised."""

from collections.abc import Sequence

import numpy as np

from spkdistill.backend.classes import BLOCK
from spkdistill.errors import DataError


def affine(transform: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """A x + b, (N, d), for vectors (N, D) and [A, b] of (d, D + 1), or A of (d, D) (Kaldi transform-vec)."""
    size = vectors.shape[1]
    if transform.shape[1] not in (size, size + 1):
        raise DataError(
            f"the transform takes {transform.shape[1] - 1} dimensions, and the embeddings have {size}"
        )
    linear = transform[:, :size].T.astype(np.float64)
    moved = np.concatenate([vectors[at : at + BLOCK] @ linear for at in range(0, len(vectors), BLOCK)])
    return moved + transform[:, size] if transform.shape[1] > size else moved


def normalise_length(vectors: np.ndarray, keys: Sequence[str], scale_up: bool = True) -> np.ndarray:
    """Vectors (N, D) of norm sqrt(D), or 1 without `scale_up` (Kaldi ivector-normalize-length).

    DataError names, from `keys`, a vector that has no direction.
    """
    norms = np.linalg.norm(vectors, axis=1)
    for index in np.flatnonzero(~(norms > 0))[:1]:
        raise DataError(
            f"{keys[index]}: the embedding equals the mean, so it has no direction; extract it again"
        )
    return vectors * ((np.sqrt(vectors.shape[1]) if scale_up else 1.0) / norms)[:, None]
