"""One module per corpus: each turns what its owner distributes into a `Source`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from spkdistill.data.enrolment import Models, model_speakers, read_models
from spkdistill.data.kaldi import DataDir, select
from spkdistill.data.trials import DrawSettings, Trials, check_trials, models_beside, read_trials
from spkdistill.errors import ConfigError
from spkdistill.settings import build


@dataclass(frozen=True)
class Source:
    """A corpus as found: its audio is not looked at yet."""

    data: DataDir
    rejected: dict[str, str] = field(default_factory=dict)  # utterance -> what is wrong with it
    trials: dict[str, Trials | DrawSettings] = field(default_factory=dict)  # by name: a list, or one to draw
    models: dict[str, Models] = field(default_factory=dict)  # of those lists whose enrolled side names models


def folders(settings: Mapping[str, Any]) -> list[str]:
    """Where in the directory of a user's corpus the files may lie that say what is in it."""
    from spkdistill.data.corpora.speechocean762 import data_folders

    return ["", *(data_folders(settings["part"]) if "part" in settings else [])]


def gather_trials(
    directory: Path, wanted: Mapping[str, Any], data: DataDir, speakerless: list[str]
) -> tuple[dict[str, Trials | DrawSettings], dict[str, Models]]:
    """Each of the `wanted` trials, and the models of the lists that have some.

    None is the file of that name in `directory`, with the models beside it; a mapping is a draw to make.
    """
    trials: dict[str, Trials | DrawSettings] = {}
    models: dict[str, Models] = {}
    utt2spk = data.utt2spk | dict.fromkeys(speakerless, "")
    for name, how in wanted.items():
        path = directory / name
        if how is not None:
            trials[name] = build(DrawSettings, how, f"trials.{name}")
            continue
        trials[name], speakers = read_trials(path), None
        if models_beside(path).exists():
            models[name] = read_models(models_beside(path), utt2spk)
            speakers = model_speakers(models[name], utt2spk)
        check_trials(path, trials[name], utt2spk, speakers)
    return trials, models


def first_speakers(data: DataDir, limit: int | None) -> DataDir:
    """The utterances of the first `limit` speakers; everything where it is None."""
    if limit is None:
        return data
    return select(data, {utterance for ids in list(data.spk2utt.values())[:limit] for utterance in ids})


def load(settings: Mapping[str, Any], allow_pipes: bool, scps: Sequence[str | Path]) -> Source:
    """The corpus that the settings name."""
    from spkdistill.data.corpora import kaldi, speechocean762, synthetic

    if isinstance(settings.get("trials"), list):
        settings = {**settings, "trials": dict.fromkeys(settings["trials"])}
    for name in settings.get("trials", {}):
        if name in ("", "..") or Path(name).name != name or "\0" in name:
            raise ConfigError(f"set.trials: {name!r} is no name of a file; rename the list")
    match settings.get("corpus"):
        case "synthetic":
            return synthetic.load(build(synthetic.SyntheticSettings, settings, "set"), scps)
        case "kaldi":
            return kaldi.load(build(kaldi.KaldiSettings, settings, "set"), allow_pipes)
        case "speechocean762":
            return speechocean762.load(build(speechocean762.SpeechOcean762Settings, settings, "set"))
        case other:
            raise ConfigError(
                f"set.corpus: {other!r} is unknown; known are synthetic, kaldi and speechocean762"
            )
