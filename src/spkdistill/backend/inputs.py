"""What the back-end stages read: embeddings and the classes they belong to."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from spkdistill.arks import ArkReader
from spkdistill.data.kaldi import read_table
from spkdistill.errors import DataError


def read_embeddings(scp_path: str | Path) -> tuple[list[str], np.ndarray]:
    """Keys and vectors (N, D) of an scp; DataError names one that is not finite, zero or of another size."""
    with ArkReader(scp_path) as reader:
        keys = reader.keys()
        if not keys:
            raise DataError(f"{scp_path}: no embeddings; the stage before this one rejected every utterance")
        size = reader.shape(keys[0])
        for key in keys:
            if len(size) != 1 or reader.shape(key) != size:
                raise DataError(
                    f"{scp_path}:{key}: shape {reader.shape(key)}, where vectors of one size belong"
                )
        vectors = reader.gather(keys)
    norms = np.abs(vectors).max(axis=1, initial=0.0)
    for index in np.flatnonzero(~(np.isfinite(norms) & (norms > 0)))[:1]:
        problem = "zero" if norms[index] == 0 else "not finite"
        raise DataError(f"{scp_path}:{keys[index]}: the embedding is {problem}; extract it again")
    return keys, vectors


def read_classes(utt2spk_path: str | Path, keys: Sequence[str]) -> np.ndarray:
    """The speaker of each utterance, as a number, (N,): speakers are numbered from 0 in sorted order."""
    utt2spk = read_table(Path(utt2spk_path))
    for key in keys:
        if key not in utt2spk:
            raise DataError(f"{utt2spk_path}: no speaker for utterance {key}, which has an embedding; add it")
    return np.unique([utt2spk[key] for key in keys], return_inverse=True)[1]
