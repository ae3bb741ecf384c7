"""Conditions that split the trials: the sexes and the duration of the two sides, or a column of the list."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd

from spkdistill.data.kaldi import read_table
from spkdistill.errors import ConfigError, DataError
from spkdistill.metrics.labelled import LabelledTrials


def condition_values(
    name: str, labelled: LabelledTrials, edges: Sequence[float], spk2gender: Path | None, utt2dur: Path | None
) -> pd.Categorical:
    """The value of the condition for each trial; a column of the list goes before what else has its name."""
    columns = labelled.trials.conditions
    if name in columns:
        return columns[name]
    if name == "sex":
        if spk2gender is None:
            raise ConfigError("metrics.conditions: sex needs --spk2gender; give it, or remove sex")
        return sexes(labelled, spk2gender)
    if name == "duration":
        if utt2dur is None:
            raise ConfigError("metrics.conditions: duration needs --utt2dur; give it, or remove duration")
        return durations(labelled, edges, utt2dur)
    there = ", ".join(["sex", "duration", *columns])
    raise DataError(f"metrics.conditions: the trials have no column {name!r}; there are {there}")


def sexes(labelled: LabelledTrials, spk2gender: Path) -> pd.Categorical:
    """f or m where the two speakers share it, else f-m."""
    gender_of = read_table(spk2gender)
    for speaker in labelled.speakers:
        if gender_of.get(speaker) not in ("f", "m"):
            found = gender_of.get(speaker, "no gender")
            raise DataError(
                f"{spk2gender}: {speaker} has {found}; give it f or m, or remove the condition sex"
            )
    male = np.array([gender_of[speaker] == "m" for speaker in labelled.speakers], dtype=np.int8)
    trials = labelled.trials
    return pd.Categorical.from_codes(male[trials.enrol] + male[trials.test], ["f", "f-m", "m"])


def durations(labelled: LabelledTrials, edges: Sequence[float], utt2dur: Path) -> pd.Categorical:
    """The bin between `edges`, in seconds, of the shorter side that is an utterance."""
    if not edges:
        raise ConfigError("metrics.duration_edges: there is none; give the seconds that part the durations")
    table, names = read_table(utt2dur), zip(labelled.trials.names, labelled.utterances, strict=True)
    seconds = np.array([seconds_of(name, table, utt2dur) if heard else np.inf for name, heard in names])
    shorter = np.minimum(seconds[labelled.trials.enrol], seconds[labelled.trials.test])
    for trial in np.flatnonzero(np.isinf(shorter))[:1]:
        pair = " ".join(labelled.trials.pair(trial))
        raise DataError(
            f"{utt2dur}: neither side of the trial {pair} is an utterance; remove the condition duration"
        )
    middle = [f"{low:g} - {high:g} s" for low, high in pairwise(edges)]
    labels = [f"< {edges[0]:g} s", *middle, f">= {edges[-1]:g} s"]
    return pd.Categorical.from_codes(np.searchsorted(edges, shorter, side="right"), labels)


def seconds_of(utterance: str, table: Mapping[str, str], utt2dur: Path) -> float:
    """The duration of an utterance."""
    if utterance not in table:
        raise DataError(f"{utt2dur}: {utterance} is missing; add it, or remove the condition duration")
    try:
        seconds = float(table[utterance])
    except ValueError:
        seconds = np.nan
    if not 0 <= seconds < np.inf:
        raise DataError(
            f"{utt2dur}: {table[utterance]!r} of {utterance} is not a number of seconds; correct it"
        )
    return seconds
