"""One module per corpus: each turns what its owner distributes into a `Source`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from spkdistill.data.kaldi import DataDir, select
from spkdistill.data.trials import DrawSettings, Trials, check_trials, read_trials
from spkdistill.settings import build


@dataclass(frozen=True)
class Source:
    """A corpus as found: its audio is not looked at yet."""

    data: DataDir
    rejected: dict[str, str] = field(default_factory=dict)  # utterance -> what is wrong with it
    trials: dict[str, Trials | DrawSettings] = field(default_factory=dict)  # by name: a list, or one to draw


def gather_trials(
    directory: Path, wanted: Mapping[str, Any], data: DataDir, speakerless: list[str]
) -> dict[str, Any]:
    """Each of the `wanted` trials: None is the file of that name in `directory`, a mapping a draw to make."""
    trials: dict[str, Trials | DrawSettings] = {}
    for name, how in wanted.items():
        if how is None:
            trials[name] = read_trials(directory / name)
            check_trials(directory / name, trials[name], data.utt2spk | dict.fromkeys(speakerless, ""))
        else:
            trials[name] = build(DrawSettings, how, f"trials.{name}")
    return trials


def first_speakers(data: DataDir, limit: int | None) -> DataDir:
    """The utterances of the first `limit` speakers; everything where it is None."""
    if limit is None:
        return data
    return select(data, {utterance for ids in list(data.spk2utt.values())[:limit] for utterance in ids})
