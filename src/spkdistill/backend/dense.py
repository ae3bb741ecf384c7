"""Every enrolled model against every utterance, and the speakers of recordings, as Kaldi archives."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np

from spkdistill.arks import ArkWriter
from spkdistill.backend.diarization import cluster, recording_scores
from spkdistill.backend.inputs import Side, utterances
from spkdistill.backend.llr import BLOCK_PAIRS
from spkdistill.backend.scoring import Embeddings
from spkdistill.backend.system import CosineSystem, PldaSystem
from spkdistill.data.kaldi import read_table
from spkdistill.errors import DataError, naming
from spkdistill.files import write_text


def score_all(
    system: CosineSystem | PldaSystem, embeddings: Embeddings, max_rejected: float, ark: Path, scp: Path
) -> None:
    """Write for each enrolled model its scores, float32 (N,), of all utterances in the order of the index."""
    enrol, test = embeddings.read(max_rejected)
    with naming(embeddings.scp):
        placed_test = system.place(test)
        placed_enrol = placed_test if enrol is test else system.place(enrol)
    step = max(1, BLOCK_PAIRS // len(test.names))
    with ArkWriter(ark, scp) as writer:
        for first in range(0, len(enrol.names), step):
            part = placed_enrol.part(slice(first, first + step))
            scores = system.pairs(part, placed_test).all().astype(np.float32)
            for name, row in zip(part.names, scores, strict=True):
                writer.write(name, row)


def diarize(
    system: PldaSystem,
    embeddings_scp: Path,
    reco2utt_path: Path,
    target_energy: float,
    threshold: float | None,
    reco2num_spk_path: Path | None,
    ark: Path,
    scp: Path,
    labels_path: Path,
) -> None:
    """Write each recording's matrix of scores, and lines "utterance label", numbered in each recording.

    Clusters merge down to `threshold`, or to the number of speakers that reco2num_spk gives.
    """
    side = utterances(embeddings_scp)
    with naming(embeddings_scp):
        side = replace(side, vectors=system.reduction.apply(side).astype(np.float64))
    row_of = {name: row for row, name in enumerate(side.names)}
    numbers = None if reco2num_spk_path is None else read_table(reco2num_spk_path)
    lines = []
    with ArkWriter(ark, scp) as writer:
        for recording, value in read_table(reco2utt_path).items():
            part = of_recording(side, row_of, recording, value.split(), reco2utt_path)
            scores = recording_scores(system.plda, part.vectors, target_energy)
            writer.write(recording, scores.astype(np.float32))
            number = None if numbers is None else known_number(numbers, recording, reco2num_spk_path)
            labels = cluster(scores, threshold, number).tolist()
            lines += [f"{key} {label}\n" for key, label in zip(part.names, labels, strict=True)]
    write_text(labels_path, "".join(lines))


def of_recording(side: Side, row_of: dict[str, int], recording: str, keys: list[str], path: Path) -> Side:
    """The utterances of one recording; DataError where one has no embedding."""
    for key in keys:
        if key not in row_of:
            raise DataError(f"{path}: {key} of {recording} has no embedding; remove it there")
    return side.take(np.array([row_of[key] for key in keys]))


def known_number(counts: dict[str, str], recording: str, path: Path) -> int:
    """How many speakers a recording has."""
    if not re.fullmatch(r"0*[1-9]\d{0,8}", counts.get(recording, ""), re.ASCII):
        raise DataError(f"{path}: expected the number of speakers of {recording}; add a line for it")
    return int(counts[recording])
