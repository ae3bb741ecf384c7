"""Trials: pairs of utterances that are, or are not, one speaker's."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from spkdistill.errors import ConfigError, DataError
from spkdistill.files import read_text, write_text
from spkdistill.seeds import generator

LABELS = {"1": True, "0": False, "target": True, "nontarget": False}
ATTEMPTS = 100  # for each non-target, before a set counts as too small


@dataclass(frozen=True)
class Trials:
    """Trials in the order of their file: trial i asks whether enrol[i] and test[i] are one speaker's."""

    enrol: list[str]
    test: list[str]
    target: np.ndarray  # (trials,) bool

    def __len__(self) -> int:
        return len(self.enrol)


@dataclass(frozen=True)
class DrawSettings:
    """How to draw trials: numbers for each speaker, and how many of the impostors share the speaker's sex."""

    targets_per_speaker: int | None  # None: every pair of the speaker's utterances
    nontargets_per_speaker: int
    same_sex: float  # share of the non-targets, 0 to 1


def read_trials(path: str | Path) -> Trials:
    """Trials from lines `1|0 enrol test` (VoxCeleb) or `enrol test target|nontarget` (Kaldi), not mixed."""
    lines = read_text(path).split("\n")
    if lines[-1] == "":
        lines.pop()
    if not lines:
        raise DataError(f"{path}: the file is empty; expected lines `enrol test target|nontarget`")
    rows = [line.split() for line in lines]
    label, enrol, test = (0, 1, 2) if rows[0][-1:] not in (["target"], ["nontarget"]) else (2, 0, 1)
    names = ("0", "1") if label == 0 else ("target", "nontarget")
    for number, row in enumerate(rows, start=1):
        if len(row) != 3 or row[label] not in names:
            form = "1|0 enrol test" if label == 0 else "enrol test target|nontarget"
            raise DataError(f"{path}:{number}: expected `{form}`, found {lines[number - 1]!r}")
    target = np.array([LABELS[row[label]] for row in rows], dtype=bool)
    return Trials([row[enrol] for row in rows], [row[test] for row in rows], target)


def write_trials(path: str | Path, trials: Trials) -> None:
    """Write Kaldi's `enrol test target|nontarget`, atomically."""
    names = np.where(trials.target, "target", "nontarget").tolist()
    rows = zip(trials.enrol, trials.test, names, strict=True)
    write_text(path, "".join(f"{enrol} {test} {name}\n" for enrol, test, name in rows))


def check_trials(path: str | Path, trials: Trials, utt2spk: Mapping[str, str]) -> None:
    """Refuse trials that name an utterance which is not in `utt2spk`, or whose label contradicts it.

    An empty speaker in `utt2spk` is an unknown one, which contradicts nothing.
    """
    rows = zip(trials.enrol, trials.test, trials.target.tolist(), strict=True)
    for number, (enrol, test, target) in enumerate(rows, start=1):
        for utterance in (enrol, test):
            if utterance not in utt2spk:
                raise DataError(
                    f"{path}:{number}: utterance {utterance} is not in utt2spk; remove the trial or add it"
                )
        speakers = utt2spk[enrol], utt2spk[test]
        if all(speakers) and (speakers[0] == speakers[1]) != target:
            label, speakers = "target" if target else "nontarget", f"{utt2spk[enrol]} and {utt2spk[test]}"
            raise DataError(
                f"{path}:{number}: {label}, but utt2spk gives the speakers {speakers}; correct one of them"
            )


def select(trials: Trials, keep: np.ndarray) -> Trials:
    """The trials where `keep`, (trials,) bool, is true."""
    kept = np.flatnonzero(keep).tolist()
    return Trials([trials.enrol[i] for i in kept], [trials.test[i] for i in kept], trials.target[keep])


def draw_trials(
    spk2utt: Mapping[str, list[str]],
    spk2gender: Mapping[str, str],
    settings: DrawSettings,
    seed: int,
    name: str,
) -> Trials:
    """Trials among the utterances of a set, drawn from (seed, name, speaker); no two utterances meet twice.

    Non-targets pair an utterance of each speaker in turn with one of an impostor. ConfigError where there are
    not enough utterances, or where same-sex impostors are asked for and the set has no genders.
    """
    if settings.same_sex > 0 and not spk2gender:
        raise ConfigError(
            f"trials.{name}.same_sex: needs spk2gender, which this set does not have; set it to 0"
        )
    rows = []
    met: set[tuple[str, str]] = set()
    for speaker in spk2utt:
        rng = generator(seed, "trials", f"{name}/{speaker}")
        rows += [(*pair, True) for pair in draw_targets(spk2utt[speaker], settings.targets_per_speaker, rng)]
        rows += [(*pair, False) for pair in draw_nontargets(speaker, spk2utt, spk2gender, settings, met, rng)]
    rows.sort()
    return Trials([r[0] for r in rows], [r[1] for r in rows], np.array([r[2] for r in rows], dtype=bool))


def draw_targets(
    utterances: Sequence[str], count: int | None, rng: np.random.Generator
) -> list[tuple[str, str]]:
    """`count` different pairs of a speaker's utterances, or all of them where there are no more."""
    first, second = np.triu_indices(len(utterances), 1)
    if count is not None and count < len(first):
        chosen = rng.choice(len(first), count, replace=False)
        first, second = first[chosen], second[chosen]
    return [(utterances[i], utterances[j]) for i, j in zip(first, second, strict=True)]


def draw_nontargets(
    speaker: str,
    spk2utt: Mapping[str, list[str]],
    spk2gender: Mapping[str, str],
    settings: DrawSettings,
    met: set[tuple[str, str]],
    rng: np.random.Generator,
) -> list[tuple[str, str]]:
    """Pairs not in `met` (they are added to it) of an utterance of the speaker and one of an impostor."""
    everyone, wanted = list(spk2utt), settings.nontargets_per_speaker
    same_sex = [other for other in everyone if spk2gender.get(other) == spk2gender.get(speaker)]
    pairs: list[tuple[str, str]] = []
    for _ in range(ATTEMPTS * wanted):
        group = same_sex if len(pairs) < round(settings.same_sex * wanted) else everyone
        impostor = pick(group, rng)
        pair = pick(spk2utt[speaker], rng), pick(spk2utt[impostor], rng)
        key = min(pair), max(pair)
        if impostor != speaker and key not in met:
            met.add(key)
            pairs.append(pair)
        if len(pairs) == wanted:
            break
    if len(pairs) < wanted:
        raise ConfigError(
            f"trials: only {len(pairs)} of {wanted} non-targets found for speaker {speaker}; "
            "lower nontargets_per_speaker or same_sex, or add utterances"
        )
    return pairs


def pick(items: Sequence[str], rng: np.random.Generator) -> str:
    """One of `items`."""
    return items[rng.integers(len(items))]
