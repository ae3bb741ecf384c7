"""Any Kaldi data directory, with or without segments."""

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from spkdistill.data.corpora import Source, first_speakers, gather_trials
from spkdistill.data.kaldi import DataDir, read_with_speakerless


@dataclass(frozen=True)
class KaldiSettings:
    """A Kaldi data directory of the user's."""

    corpus: str
    directory: str
    root: str  # what relative paths in wav.scp are relative to
    sample_rate: int  # Hz; other recordings are rejected
    channel: int  # of recordings that have several, from 0; -1: those are rejected
    limit_speakers: int | None  # only the first so many speakers
    trials: dict[str, Any]  # name -> None, a file of the directory; or DrawSettings


def load(settings: KaldiSettings, allow_pipes: bool) -> Source:
    """The directory's utterances and trials; DataError where its files are not sound."""
    directory = Path(settings.directory)
    data, speakerless = read_with_speakerless(directory, allow_pipes)
    trials, models = gather_trials(directory, settings.trials, data, speakerless)
    rejected = dict.fromkeys(speakerless, "no speaker in utt2spk")
    located = relocate(data, settings.root)
    return Source(first_speakers(located, settings.limit_speakers), rejected, trials, models)


def relocate(data: DataDir, root: str) -> DataDir:
    """The same with paths relative to the working directory instead of `root`; commands stay as they are."""
    root = "" if root == "." else root
    wav = {id: place if place.endswith("|") else os.path.join(root, place) for id, place in data.wav.items()}
    return replace(data, wav=wav)
