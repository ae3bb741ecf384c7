"""Every enrolled model against every utterance, and the speakers of recordings, as Kaldi archives."""

from pathlib import Path

import numpy as np

from spkdistill.arks import ArkWriter
from spkdistill.backend.diarization import cluster, recording_scores
from spkdistill.backend.inputs import speaker_means, utterances
from spkdistill.backend.llr import BLOCK_PAIRS
from spkdistill.backend.plda import Plda
from spkdistill.backend.scoring import check_dimension
from spkdistill.backend.system import CosineSystem, PldaSystem
from spkdistill.data.kaldi import read_table
from spkdistill.errors import DataError
from spkdistill.files import write_text


def score_all(
    system: CosineSystem | PldaSystem,
    embeddings_scp: Path,
    enrol_spk2utt: Path | None,
    max_rejected: float,
    ark: Path,
    scp: Path,
) -> None:
    """Write for each enrolled model its scores, float32 (N,), of all utterances in the order of the index."""
    side = utterances(embeddings_scp)
    check_dimension(system, side, embeddings_scp)
    test = system.place(side)
    enrol = test if enrol_spk2utt is None else system.place(speaker_means(enrol_spk2utt, side, max_rejected))
    step = max(1, BLOCK_PAIRS // len(test.names))
    with ArkWriter(ark, scp) as writer:
        for first in range(0, len(enrol.names), step):
            part = enrol.part(slice(first, first + step))
            for name, scores in zip(
                part.names, system.pairs(part, test).all().astype(np.float32), strict=True
            ):
                writer.write(name, scores)


def diarize(
    plda: Plda,
    embeddings_scp: Path,
    reco2utt_path: Path,
    target_energy: float,
    threshold: float,
    reco2num_spk_path: Path | None,
    ark: Path,
    scp: Path,
    labels_path: Path,
) -> None:
    """Write each recording's matrix of scores, and lines "utterance label", numbered in each recording."""
    side = utterances(embeddings_scp)
    row_of = {name: row for row, name in enumerate(side.names)}
    counts = None if reco2num_spk_path is None else read_table(reco2num_spk_path)
    lines = []
    with ArkWriter(ark, scp) as writer:
        for recording, value in read_table(reco2utt_path).items():
            keys = value.split()
            for key in keys:
                if key not in row_of:
                    raise DataError(
                        f"{reco2utt_path}: {key} of {recording} has no embedding; remove it there"
                    )
            vectors = side.vectors[[row_of[key] for key in keys]].astype(np.float64)
            scores = recording_scores(plda, vectors, target_energy)
            writer.write(recording, scores.astype(np.float32))
            number = None if counts is None else known_number(counts, recording, reco2num_spk_path)
            labels = cluster(scores, threshold, number).tolist()
            lines += [f"{key} {label}\n" for key, label in zip(keys, labels, strict=True)]
        write_text(labels_path, "".join(lines))


def known_number(counts: dict[str, str], recording: str, path: Path) -> int:
    """How many speakers a recording has."""
    if not counts.get(recording, "").isdecimal() or int(counts[recording]) < 1:
        raise DataError(f"{path}: expected the number of speakers of {recording}; add a line for it")
    return int(counts[recording])
