"""Made-up data of VoxCeleb2's size and shape: data directories, frame counts, and the indexes of shards.

The files are real, and as long as VoxCeleb2's; the recordings are not: the lines of wav.scp point at a few
waves in an archive.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from spkdistill.arks import ArkWriter, read_scp
from spkdistill.data.corpora.synthetic import wave_bytes
from spkdistill.files import replacing
from spkdistill.shards import shard

UTTERANCES, SPEAKERS, VIDEOS = 1_092_009, 5_994, 145_569  # VoxCeleb2's dev part
SIZES = (10_000, 100_000, UTTERANCES)
COPIES = ("babble", "music", "noise", "reverb")  # as voxceleb/v2 names augmented utterances
RATE = 16_000
SECONDS = 7.8  # of an utterance of VoxCeleb2, on average
WAVES = 64  # real recordings


def utterance_ids(count: int, copies: Sequence[str] = ()) -> list[str]:
    """Ids such as id00012-21Uxsk56VDQ-00001, sorted; with `copies`, of each of them instead."""
    rng = np.random.default_rng(0)
    letters = np.array(list("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz"))
    videos = ["".join(name) for name in letters[rng.integers(len(letters), size=(VIDEOS, 11))]]
    speakers = max(round(count * SPEAKERS / UTTERANCES), 2)
    ids = [
        f"id{i * speakers // count:05d}-{videos[i * VIDEOS // UTTERANCES]}-{i % 1000:05d}"
        for i in range(count)
    ]
    return sorted(f"{id}-{copy}" for id in ids for copy in copies) if copies else sorted(ids)


def speaker_of(utterance: str) -> str:
    """The speaker of an utterance."""
    return utterance[:7]


def write_directory(folder: Path, ids: Sequence[str]) -> None:
    """A Kaldi data directory of these utterances, with spk2utt and spk2gender."""
    folder.mkdir(parents=True)
    with ArkWriter(folder / "wav.ark", folder / "waves.scp") as writer:
        rng = np.random.default_rng(0)
        for number in range(WAVES):
            samples = rng.integers(-3000, 3000, round(RATE * rng.uniform(4, 2 * SECONDS - 4)), dtype="<i2")
            writer.write(f"{number:02d}", wave_bytes(samples, RATE))
    waves = list(read_scp(folder / "waves.scp").values())
    write_lines(folder / "wav.scp", (f"{id} {waves[i % WAVES]}" for i, id in enumerate(ids)))
    write_lines(folder / "utt2spk", (f"{id} {speaker_of(id)}" for id in ids))
    members: dict[str, list[str]] = {}
    for id in ids:
        members.setdefault(speaker_of(id), []).append(id)
    write_lines(folder / "spk2utt", (f"{speaker} {' '.join(those)}" for speaker, those in members.items()))
    write_lines(folder / "spk2gender", (f"{speaker} {'fm'[int(speaker[2:]) % 2]}" for speaker in members))


def write_num_frames(path: Path, ids: Sequence[str]) -> None:
    """utt2num_frames: a hundred a second, 4 s at least."""
    frames = np.random.default_rng(1).integers(400, round(200 * SECONDS) - 400, len(ids))
    write_lines(path, (f"{id} {count}" for id, count in zip(ids, frames.tolist(), strict=True)))


def write_index(folder: Path, ids: Sequence[str], dim: int, jobs: int) -> list[Path]:
    """Embeddings of the utterances in `jobs` archives; the indexes of the shards."""
    scps, vector = [], np.ones(dim, dtype=np.float32)
    for job in range(1, jobs + 1):
        scps.append(folder / f"xvector.{job}.scp")
        with ArkWriter(folder / f"xvector.{job}.ark", scps[-1]) as writer:
            for id in shard(ids, job, jobs):
                writer.write(id, vector)
    return scps


def write_lines(path: Path, lines: Iterator[str]) -> None:
    """Write lines."""
    with replacing(path) as file:
        file.writelines(f"{line}\n" for line in lines)
