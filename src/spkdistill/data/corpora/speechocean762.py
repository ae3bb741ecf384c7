"""speechocean762: read English of 250 Mandarin speakers (Zhang et al. 2021; OpenSLR SLR101).

As distributed, WAVE/SPEAKER0003/000030012.WAV under one folder with a Kaldi data directory for each part,
`train` and `test`, of 125 speakers each; a copy prepared into other parts reads the same way.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spkdistill.data.corpora import Source, first_speakers, gather_trials
from spkdistill.data.corpora.kaldi import relocate
from spkdistill.data.kaldi import DataDir, read
from spkdistill.errors import DataError

DISTRIBUTED_PARTS = ("train", "test")


@dataclass(frozen=True)
class SpeechOcean762Settings:
    """One part of a local copy."""

    corpus: str
    directory: str  # the folder with WAVE, train and test
    part: str  # a data directory in it, or `all`: train and test together
    root: str | None  # what paths in wav.scp are relative to; None: `directory`
    sample_rate: int  # Hz
    limit_speakers: int | None
    trials: dict[str, Any]  # name -> None, a file of the part; or DrawSettings


def load(settings: SpeechOcean762Settings) -> Source:
    """The part's utterances, their ids made to begin with their speaker's, and its trials."""
    directory = Path(settings.directory)
    data = merge([prefix_ids(read(directory / folder)) for folder in data_folders(settings.part)], directory)
    trials, models = gather_trials(directory / settings.part, settings.trials, data, [])
    located = relocate(data, settings.root or settings.directory)
    return Source(first_speakers(located, settings.limit_speakers), trials=trials, models=models)


def data_folders(part: str) -> tuple[str, ...]:
    """The data directories of a part."""
    return DISTRIBUTED_PARTS if part == "all" else (part,)


def prefix_ids(data: DataDir) -> DataDir:
    """Speaker 0003 and utterance 000030012 as so0003 and so0003-000030012; ids that have a prefix are kept.

    Sorting by utterance is then sorting by speaker, which Kaldi's tools rely on.
    """
    if all(utterance.startswith(speaker) for utterance, speaker in data.utt2spk.items()):
        return data
    names = {utterance: f"so{speaker}-{utterance}" for utterance, speaker in data.utt2spk.items()}
    return DataDir(
        wav=dict(sorted((names[id], place) for id, place in data.wav.items())),
        utt2spk=dict(sorted((names[id], f"so{speaker}") for id, speaker in data.utt2spk.items())),
        segments=None,
        utt2dur={},
        spk2gender={f"so{speaker}": gender for speaker, gender in data.spk2gender.items()},
        utt2speed=dict(sorted((names[id], speed) for id, speed in data.utt2speed.items())),
    )


def merge(parts: list[DataDir], directory: Path) -> DataDir:
    """The parts as one; DataError where a speaker is in two of them."""
    speakers = [speaker for part in parts for speaker in part.spk2utt]
    if len(set(speakers)) < len(speakers):
        twice = min(speaker for speaker in speakers if speakers.count(speaker) > 1)
        raise DataError(f"{directory}: speaker {twice} is in two parts; unpack the corpus again")
    names = "wav", "utt2spk", "spk2gender", "utt2speed"
    tables = ([getattr(part, name) for part in parts] for name in names)
    wav, utt2spk, spk2gender, utt2speed = (
        dict(sorted(i for part in table for i in part.items())) for table in tables
    )
    return DataDir(wav, utt2spk, None, {}, spk2gender, utt2speed)
