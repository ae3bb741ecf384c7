"""Copies of a set at other speeds: each speed of a speaker is a speaker of its own.

Kaldi's utils/data/perturb_data_dir_speed_3way.sh, but that no recording or segment is changed: utt2speed says
how fast each utterance is played.
"""

from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from spkdistill.data.kaldi import DataDir
from spkdistill.errors import DataError


def with_copies(path: Path, data: DataDir, speeds: Sequence[float]) -> DataDir:
    """`data` and, for each of `speeds`, utterance U of speaker S once more, as sp0.9-U of sp0.9-S.

    DataError, about the directory `path`, where the id of a copy is taken or `data` has speeds of its own.
    """
    if not speeds:
        return data
    if data.utt2speed:
        raise DataError(f"{path}: the corpus has an utt2speed of its own; remove that, or the set's speeds")
    together = replace(data, utt2speed=dict.fromkeys(data.utt2spk, 1.0))
    for speed in speeds:
        copy = copy_at(speed, data)
        taken = data.utt2spk.keys() & copy.utt2spk.keys() | data.spk2utt.keys() & copy.spk2utt.keys()
        if taken:
            raise DataError(
                f"{path}: the corpus has {min(taken)}, which is what a copy at speed {speed:g} is called; "
                f"rename it, or remove {speed:g} from the set's speeds"
            )
        together = union(together, copy)
    return together


def copy_at(speed: float, data: DataDir) -> DataDir:
    """The copy of `data` at one speed."""

    def renamed(table: dict[str, Any]) -> dict[str, Any]:
        return {f"sp{speed:g}-{id}": value for id, value in table.items()}

    return DataDir(
        wav=renamed(data.wav) if data.segments is None else data.wav,
        utt2spk={id: f"sp{speed:g}-{speaker}" for id, speaker in renamed(data.utt2spk).items()},
        segments=data.segments and renamed(data.segments),
        utt2dur={id: seconds / speed for id, seconds in renamed(data.utt2dur).items()},
        spk2gender=renamed(data.spk2gender),
        utt2speed=dict.fromkeys(renamed(data.utt2spk), speed),
    )


def union(first: DataDir, second: DataDir) -> DataDir:
    """Both together."""
    pairs = ((getattr(first, table.name), getattr(second, table.name)) for table in fields(DataDir))
    return DataDir(*(None if one is None else dict(sorted((one | other).items())) for one, other in pairs))
