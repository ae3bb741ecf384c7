"""Models: several utterances of one speaker, enrolled together under one name.

On disk as Kaldi's spk2utt, beside the trials that name them: lines `model utterance utterance ...`, sorted.
"""

from collections.abc import Collection, Mapping
from pathlib import Path

from spkdistill.data.kaldi import read_table
from spkdistill.errors import ConfigError, DataError
from spkdistill.files import write_text
from spkdistill.seeds import generator

Models = dict[str, list[str]]  # the utterances of each model, models sorted


def read_models(path: str | Path, utt2spk: Mapping[str, str]) -> Models:
    """The models of a file, checked as `check_models` does."""
    models = {model: utterances.split() for model, utterances in read_table(path).items()}
    check_models(path, models, utt2spk)
    return models


def check_models(path: str | Path, models: Models, utt2spk: Mapping[str, str]) -> None:
    """Refuse a model of utterances that are unknown, listed again or another speaker's, or with such a name.

    An empty speaker in `utt2spk` is an unknown one, which contradicts nothing.
    """
    for number, (model, utterances) in enumerate(models.items(), start=1):
        where = f"{path}:{number}: model {model}"
        for utterance in utterances:
            if utterance not in utt2spk:
                raise DataError(
                    f"{where} has {utterance}, which is not in utt2spk; remove it or add it there"
                )
        if len(set(utterances)) < len(utterances):
            raise DataError(f"{where} names an utterance twice; remove one of the two")
        speakers = sorted({utt2spk[utterance] for utterance in utterances} - {""})
        if len(speakers) > 1:
            raise DataError(
                f"{where} has utterances of the speakers {' and '.join(speakers)}; make a model of each"
            )
        if speakers and utt2spk.get(model, "") not in ("", *speakers):
            raise DataError(
                f"{where} is of speaker {speakers[0]} and has the name of an utterance of {utt2spk[model]}; "
                "rename one of them"
            )


def model_speakers(models: Models, utt2spk: Mapping[str, str]) -> dict[str, str]:
    """The speaker of each of `models`, which have been checked; empty where no utterance has a known one."""
    return {model: max(utt2spk[id] for id in utterances) for model, utterances in models.items()}


def select_utterances(models: Models, utterances: Collection[str]) -> Models:
    """Models with those of their utterances that are among `utterances`; one without any is left out."""
    kept = {model: [id for id in ids if id in utterances] for model, ids in models.items()}
    return {model: ids for model, ids in kept.items() if ids}


def draw_models(spk2utt: Mapping[str, list[str]], size: int, seed: int, name: str) -> Models:
    """A model for each speaker, by the speaker's name, of `size` utterances drawn from (seed, name, speaker).

    ConfigError where a speaker has no further utterance to test.
    """
    models = {}
    for speaker, utterances in spk2utt.items():
        if len(utterances) <= size:
            raise ConfigError(
                f"trials.{name}.enrol_utterances: speaker {speaker} has {len(utterances)} utterances, and a "
                f"model of {size} leaves none to test; lower it or add utterances"
            )
        chosen = generator(seed, "enrol", f"{name}/{speaker}").choice(len(utterances), size, replace=False)
        models[speaker] = [utterances[index] for index in sorted(chosen)]
    return models


def write_models(path: str | Path, models: Models) -> None:
    """Write lines `model utterance utterance ...`, atomically."""
    write_text(path, "".join(f"{model} {' '.join(utterances)}\n" for model, utterances in models.items()))
