"""Trials: pairs of utterances, or of a model and an utterance, that are, or are not, one speaker's."""

import logging
from collections.abc import Collection, Container, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations, product
from pathlib import Path

import numpy as np
import pandas as pd

from spkdistill.data.columns import first_fields, line_at, read_columns
from spkdistill.errors import ConfigError, DataError
from spkdistill.files import replacing
from spkdistill.seeds import generator

HEADER = ["enrol", "test", "label"]  # then the names of the conditions
LABELS = {"1": True, "0": False, "target": True, "nontarget": False}
ATTEMPTS = 100  # for each non-target, before a set counts as too small
BLOCK_LINES = 1 << 17  # written at a time

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Trials:
    """Trials in the order of their file: trial i asks whether enrol[i] and test[i] are one speaker's."""

    names: list[str]  # sorted: every name of either side, once
    enrol: np.ndarray  # (trials,) int32, indices into names
    test: np.ndarray  # (trials,) int32
    target: np.ndarray  # (trials,) bool
    conditions: dict[str, pd.Categorical] = field(default_factory=dict)  # further columns, by name

    @classmethod
    def of(cls, enrol: Sequence[str], test: Sequence[str], target: Sequence[bool] | np.ndarray) -> "Trials":
        """Trials from the names of their sides."""
        names = sorted({*enrol, *test})
        place = {name: index for index, name in enumerate(names)}
        sides = [np.array([place[name] for name in side], dtype=np.int32) for side in (enrol, test)]
        return cls(names, *sides, np.array(target, dtype=bool))

    def __len__(self) -> int:
        return len(self.target)

    def pair(self, trial: int) -> tuple[str, str]:
        """The names of the two sides of a trial."""
        return self.names[self.enrol[trial]], self.names[self.test[trial]]

    @property
    def pairs(self) -> np.ndarray:
        """A number, (trials,) int64, that trials share where both sides are the same."""
        return pair_numbers(self.enrol, self.test, len(self.names))


@dataclass(frozen=True)
class DrawSettings:
    """How to draw trials: numbers for each speaker, and how many of the impostors share the speaker's sex."""

    enrol_utterances: int  # of each speaker's model; 1: utterances are enrolled, no models
    targets_per_speaker: int | None  # None: every pair of the speaker's utterances, or of model and utterance
    nontargets_per_speaker: int
    same_sex: float  # share of the non-targets, 0 to 1


def read_trials(path: str | Path) -> Trials:
    """Trials from lines `1|0 enrol test` (VoxCeleb) or `enrol test target|nontarget` (Kaldi), not mixed.

    After a header line `enrol test label ...` every column beyond the label (of either kind) is a condition.
    A trial that is listed again counts again, as it does for Kaldi, and is logged; one that is listed with
    both labels is a DataError.
    """
    path = Path(path)
    first = first_fields(path)
    if not first:
        raise DataError(f"{path}:1: the line is empty; expected lines `enrol test target|nontarget`")
    header = first[:3] == HEADER
    if header:
        columns, form = first, " ".join(["enrol", "test", "target|nontarget|1|0", *first[3:]])
    elif first[-1] in ("target", "nontarget"):
        columns, form = HEADER, "enrol test target|nontarget"
    else:
        columns, form = ["label", "enrol", "test"], "1|0 enrol test"
    if len(set(columns)) < len(columns):
        raise DataError(f"{path}:1: a column is named twice in {form!r}; rename one of them")
    names, read = read_columns(path, columns, form, header=header)
    target = targets(path, read.pop("label"), form, header)
    trials = Trials(names, read.pop("enrol"), read.pop("test"), target, read)
    repeated = count_repeated(trials.pairs)
    if repeated:
        refuse_two_labels(path, trials, header)
        log.warning("%s: %d trials are listed before; they count as often as they are listed", path, repeated)
    return trials


def read_pairs(path: str | Path) -> Trials:
    """A list to score: one of `read_trials`, or lines `enrol test` without a label, taken as non-targets."""
    path = Path(path)
    if len(first_fields(path)) != 2:
        return read_trials(path)
    names, read = read_columns(path, HEADER[:2], "enrol test")
    return Trials(names, read["enrol"], read["test"], np.zeros(len(read["enrol"]), dtype=bool))


def targets(path: Path, labels: pd.Categorical, form: str, header: bool) -> np.ndarray:
    """Which trials, (trials,) bool, are targets; DataError names a label of another kind than the first."""
    if not len(labels):
        raise DataError(f"{path}: no trial follows the header; expected lines `{form}`")
    kind = ("target", "nontarget") if labels[0] in ("target", "nontarget") else ("1", "0")
    for index in np.flatnonzero(~np.isin(labels.categories, kind)[labels.codes])[:1]:
        line = index + 1 + header
        raise DataError(f"{path}:{line}: expected `{form}`, found {line_at(path, line)!r}")
    return np.array([LABELS[label] for label in labels.categories])[labels.codes]


def pair_numbers(first: np.ndarray, second: np.ndarray, count: int) -> np.ndarray:
    """A number, (pairs,) int64, for each pair of numbers below `count`."""
    return first.astype(np.int64) * count + second


def count_repeated(pairs: np.ndarray) -> int:
    """How many of `pairs`, (trials,), are listed before."""
    pairs = np.sort(pairs)
    return int(np.count_nonzero(pairs[1:] == pairs[:-1]))


def refuse_two_labels(path: Path, trials: Trials, header: bool) -> None:
    """DataError where a pair is listed as a target and as a non-target."""
    pairs = trials.pairs
    both = np.intersect1d(pairs[trials.target], pairs[~trials.target])
    if len(both):
        rows = np.flatnonzero(np.isin(pairs, both))
        other = rows[(pairs[rows] == pairs[rows[0]]) & (trials.target[rows] != trials.target[rows[0]])][0]
        raise DataError(
            f"{path}:{other + 1 + header}: {' '.join(trials.pair(other))} is a target and a nontarget; "
            "remove one of the two lines"
        )


def write_trials(path: str | Path, trials: Trials) -> None:
    """Write Kaldi's `enrol test target|nontarget`, atomically; with a header where trials have conditions."""
    names = np.array(trials.names, dtype=object)
    labels = np.array(["nontarget", "target"], dtype=object)
    with replacing(path) as file:
        if trials.conditions:
            file.write(" ".join([*HEADER, *trials.conditions]) + "\n")
        for start in range(0, len(trials), BLOCK_LINES):
            block = slice(start, start + BLOCK_LINES)
            columns = [
                names[trials.enrol[block]],
                names[trials.test[block]],
                labels[trials.target[block].astype(int)],
            ]
            columns += [np.asarray(values[block], dtype=object) for values in trials.conditions.values()]
            file.writelines(" ".join(row) + "\n" for row in zip(*columns, strict=True))


def check_trials(
    path: str | Path,
    trials: Trials,
    utt2spk: Mapping[str, str],
    models: Mapping[str, str] | None = None,
) -> None:
    """Refuse trials that name an utterance which is not in `utt2spk`, or whose label contradicts it.

    With `models`, the speaker of each, the enrolled side names models. An empty speaker is an unknown one,
    which contradicts nothing.
    """
    enrolled = utt2spk if models is None else models
    known_enrol, known_test = sides_in(trials, enrolled, utt2spk)
    for index in np.flatnonzero(~(known_enrol & known_test))[:1]:
        enrol, test = trials.pair(index)
        unknown = f"utterance {test if known_enrol[index] else enrol} is not in utt2spk"
        if models is not None and not known_enrol[index]:
            unknown = f"model {enrol} is not in {models_beside(path)}"
        line = index + 1 + has_header(path)
        raise DataError(f"{path}:{line}: {unknown}; remove the trial or add it")
    place = {speaker: number for number, speaker in enumerate({*enrolled.values(), *utt2spk.values(), ""})}
    first = np.array([place[enrolled.get(name, "")] for name in trials.names])[trials.enrol]
    second = np.array([place[utt2spk.get(name, "")] for name in trials.names])[trials.test]
    contradicted = (first == second) != trials.target
    contradicted &= (first != place[""]) & (second != place[""])
    for index in np.flatnonzero(contradicted)[:1]:
        label = "target" if trials.target[index] else "nontarget"
        enrol, test = trials.pair(index)
        line = index + 1 + has_header(path)
        raise DataError(
            f"{path}:{line}: {label}, but utt2spk gives the speakers {enrolled[enrol]} and {utt2spk[test]}; "
            "correct one of them"
        )


def sides_in(
    trials: Trials, enrolled: Container[str], tested: Container[str]
) -> tuple[np.ndarray, np.ndarray]:
    """Which trials, (trials,) bool, have an enrolled side in `enrolled`, and which a tested in `tested`."""
    first = np.array([name in enrolled for name in trials.names], dtype=bool)
    second = np.array([name in tested for name in trials.names], dtype=bool)
    return first[trials.enrol], second[trials.test]


def models_beside(path: str | Path) -> Path:
    """The file of the models that the enrolled side of a list of trials names; without it, utterances."""
    return Path(f"{path}.enrol")


def has_header(path: str | Path) -> bool:
    """Whether a list of trials begins with the names of its columns."""
    return first_fields(Path(path))[:3] == HEADER


def select(trials: Trials, keep: np.ndarray) -> Trials:
    """The trials that `keep` selects, a bool for each or their indices, and the names that they use."""
    enrol, test = trials.enrol[keep], trials.test[keep]
    used = np.zeros(len(trials.names), dtype=bool)
    used[enrol] = used[test] = True
    place = np.cumsum(used, dtype=np.int32) - 1
    return Trials(
        [trials.names[index] for index in np.flatnonzero(used)],
        place[enrol],
        place[test],
        trials.target[keep],
        {name: values[keep].remove_unused_categories() for name, values in trials.conditions.items()},
    )


def draw_trials(
    spk2utt: Mapping[str, list[str]],
    spk2gender: Mapping[str, str],
    settings: DrawSettings,
    seed: int,
    name: str,
    models: Mapping[str, Collection[str]] | None = None,
) -> Trials:
    """Trials among the utterances of a set, drawn from (seed, name, speaker); no two of its names meet twice.

    Non-targets pair an utterance of each speaker in turn with one of an impostor. With `models`, speaker ->
    utterances, speakers are enrolled by name and only utterances of no model are tested. ConfigError where
    there are not enough utterances, or where same-sex impostors are asked for and the set has no genders.
    """
    if settings.same_sex > 0 and not spk2gender:
        raise ConfigError(
            f"trials.{name}.same_sex: needs spk2gender, which this set does not have; set it to 0"
        )
    enrolled = tested = spk2utt
    if models is not None:
        enrolled = {speaker: [speaker] for speaker in spk2utt}
        tested = {who: [id for id in ids if id not in models[who]] for who, ids in spk2utt.items()}
    rows = []
    met: set[tuple[str, str]] = set()
    for speaker in spk2utt:
        rng = generator(seed, "trials", f"{name}/{speaker}")
        targets = draw_targets(enrolled[speaker], tested[speaker], settings.targets_per_speaker, rng)
        nontargets = draw_nontargets(speaker, enrolled, tested, spk2gender, settings, met, rng)
        wanted = settings.nontargets_per_speaker
        if len(nontargets) < wanted:
            raise ConfigError(
                f"trials.{name}: only {len(nontargets)} of {wanted} non-targets found for speaker {speaker}; "
                "lower nontargets_per_speaker or same_sex, or add utterances"
            )
        rows += [(*pair, True) for pair in targets] + [(*pair, False) for pair in nontargets]
    rows.sort()
    return Trials.of([r[0] for r in rows], [r[1] for r in rows], [r[2] for r in rows])


def draw_targets(
    enrolled: Sequence[str], tested: Sequence[str], count: int | None, rng: np.random.Generator
) -> list[tuple[str, str]]:
    """`count` different pairs of a speaker's names, or all of them where there are no more."""
    pairs = list(combinations(tested, 2) if enrolled is tested else product(enrolled, tested))
    if count is not None and count < len(pairs):
        pairs = [pairs[index] for index in rng.choice(len(pairs), count, replace=False)]
    return pairs


def draw_nontargets(
    speaker: str,
    enrolled: Mapping[str, list[str]],
    tested: Mapping[str, list[str]],
    spk2gender: Mapping[str, str],
    settings: DrawSettings,
    met: set[tuple[str, str]],
    rng: np.random.Generator,
) -> list[tuple[str, str]]:
    """Pairs not in `met` (they are added to it) of a name of the speaker and an utterance of an impostor.

    Fewer than are wanted where chance finds no more.
    """
    everyone, wanted = list(tested), settings.nontargets_per_speaker
    same_sex = [other for other in everyone if spk2gender.get(other) == spk2gender.get(speaker)]
    pairs: list[tuple[str, str]] = []
    for _ in range(ATTEMPTS * wanted):
        group = same_sex if len(pairs) < round(settings.same_sex * wanted) else everyone
        impostor = pick(group, rng)
        pair = pick(enrolled[speaker], rng), pick(tested[impostor], rng)
        key = min(pair), max(pair)
        if impostor != speaker and key not in met:
            met.add(key)
            pairs.append(pair)
        if len(pairs) == wanted:
            break
    return pairs


def pick(items: Sequence[str], rng: np.random.Generator) -> str:
    """One of `items`."""
    return items[rng.integers(len(items))]
