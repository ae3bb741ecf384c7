"""What the back-end stages read: embeddings, the classes they belong to, and means of several of them."""

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from spkdistill.arks import ArkReader, ArkWriter
from spkdistill.data.kaldi import read_table
from spkdistill.errors import DataError
from spkdistill.files import write_text

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Side:
    """The models or utterances of one side of the trials."""

    names: list[str]
    vectors: np.ndarray  # (N, D)
    counts: np.ndarray  # (N,) int64, utterances that each vector is the mean of

    def part(self, rows: slice) -> "Side":
        """Consecutive ones of them."""
        return Side(self.names[rows], self.vectors[rows], self.counts[rows])

    def take(self, rows: np.ndarray) -> "Side":
        """Those in `rows`, a list of row numbers."""
        return Side([self.names[row] for row in rows], self.vectors[rows], self.counts[rows])


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


def utterances(embeddings_scp: Path) -> Side:
    """The embeddings of single utterances."""
    names, vectors = read_embeddings(embeddings_scp)
    return Side(names, vectors, np.ones(len(names), dtype=np.int64))


def speaker_means(spk2utt_path: Path, side: Side, max_rejected: float, at_most: int | None = None) -> Side:
    """The mean embedding of each speaker, float64, over the utterances that have one (Kaldi ivector-mean).

    With `at_most`, over the first so many of them. Utterances without an embedding are logged; DataError
    where they are more than the share `max_rejected`.
    """
    row_of = {name: row for row, name in enumerate(side.names)}
    names, counts, rows, missing, total = [], [], [], [], 0
    for speaker, value in read_table(spk2utt_path).items():
        members = value.split()
        if len(set(members)) < len(members):
            raise DataError(f"{spk2utt_path}: {speaker} names an utterance twice; keep one of them")
        total += len(members)
        present = [row_of[member] for member in members if member in row_of]
        missing += [f"{member} of {speaker}" for member in members if member not in row_of]
        if present:
            names.append(speaker)
            counts.append(len(present[:at_most]))
            rows += present[:at_most]
    if missing:
        found = f"{spk2utt_path}: {len(missing)} of {total} utterances have no embedding ({some(missing)})"
        if not rows or len(missing) > max_rejected * total:
            raise DataError(f"{found}; extract them, or raise data.max_rejected")
        log.warning("%s; the means are of the others", found)
    starts = np.cumsum(counts) - counts
    sums = np.add.reduceat(side.vectors[rows], starts, axis=0, dtype=np.float64)
    return Side(names, sums / np.array(counts)[:, None], np.array(counts))


def some(items: Sequence[str]) -> str:
    """The first items of a list, for a message."""
    return ", ".join(items[:3]) + (", ..." if len(items) > 3 else "")


def write_speaker_means(
    embeddings_scp: Path,
    spk2utt_path: Path,
    max_rejected: float,
    at_most: int | None,
    ark: Path,
    scp: Path,
    num_utts_path: Path,
) -> None:
    """Write each speaker's mean embedding, float32, and the number of utterances behind it."""
    means = speaker_means(spk2utt_path, utterances(embeddings_scp), max_rejected, at_most)
    with ArkWriter(ark, scp) as writer:
        for name, vector in zip(means.names, means.vectors.astype(np.float32), strict=True):
            writer.write(name, vector)
        lines = zip(means.names, means.counts.tolist(), strict=True)
        write_text(num_utts_path, "".join(f"{name} {count}\n" for name, count in lines))


def read_means(scp: Path, num_utts_path: Path | None) -> Side:
    """Speakers' means, written by `write_speaker_means` or ivector-mean, with their counts or 1 for each."""
    side = utterances(scp)
    if num_utts_path is None:
        return side
    counts = read_table(num_utts_path)
    for name in side.names:
        if not re.fullmatch(r"0*[1-9]\d{0,8}", counts.get(name, ""), re.ASCII):
            raise DataError(f"{num_utts_path}: no number of utterances for {name}, which has a mean; add it")
    return Side(side.names, side.vectors, np.array([int(counts[name]) for name in side.names]))
