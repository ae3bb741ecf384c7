"""Embeddings, trials and scores to measure on: drawn from the models that the back-end assumes."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from spkdistill.backend.plda import Plda
from spkdistill.data.scores import write_scores
from spkdistill.data.trials import Trials, write_trials
from spkdistill.files import write_text

SPEAKERS, UTTERANCES = 1251, 116  # VoxCeleb1: 1,251 speakers, about 116 utterances each
TRIALS = 580_000  # VoxCeleb1-E and -H


def speaker_vectors(counts: np.ndarray, dim: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Vectors (N, dim) and speakers (N,), `counts` of each: between-speaker variances fall from 2 to 0."""
    rng = np.random.default_rng(seed)
    speakers = np.repeat(np.arange(len(counts)), counts)
    voices = rng.standard_normal((len(counts), dim)) * np.sqrt(np.linspace(2, 0, dim))
    mixed = np.eye(dim) + rng.standard_normal((dim, dim)) / (2 * np.sqrt(dim))
    vectors = rng.standard_normal((len(speakers), dim))
    vectors += voices[speakers]
    return vectors @ mixed + 1, speakers


def plda_model(dim: int) -> Plda:
    """A model with a full transform."""
    rng = np.random.default_rng(1)
    return Plda(rng.standard_normal(dim), rng.standard_normal((dim, dim)), np.linspace(2, 0, dim))


@dataclass(frozen=True)
class Case:
    """Trials, the speaker of each of their names, and a score for each."""

    trials: Trials
    speakers: list[str]
    scores: np.ndarray

    def write(self, folder: Path) -> None:
        """The files `trials`, `scores` and `utt2spk` of a command."""
        write_trials(folder / "trials", self.trials)
        write_scores(folder / "scores", self.trials, self.scores)
        lines = zip(self.trials.names, self.speakers, strict=True)
        write_text(folder / "utt2spk", "".join(f"{name} {speaker}\n" for name, speaker in lines))


def drawn_list(count: int, seed: int = 0) -> Case:
    """A list like VoxCeleb1-E: `count` different trials of 1,251 speakers, half of them targets."""
    rng = np.random.default_rng(seed)
    total, half = SPEAKERS * UTTERANCES, slice(None, count)
    enrol, test = rng.integers(total, size=(2, 2 * count))
    shift = rng.integers(1, UTTERANCES, size=count)
    test[half] = enrol[half] - enrol[half] % UTTERANCES + (enrol[half] + shift) % UTTERANCES
    enrol, test = np.divmod(rng.permutation(np.unique(enrol * total + test)), total)
    same = enrol // UTTERANCES == test // UTTERANCES
    kept = np.sort(np.concatenate([np.flatnonzero(kind)[: count // 2] for kind in (same, ~same)]))
    return scored(SPEAKERS, UTTERANCES, enrol[kept], test[kept], rng)


def all_pairs(speakers: int, utterances: int) -> Case:
    """Every two utterances, `utterances` of each speaker."""
    pairs = np.triu_indices(speakers * utterances, 1)
    return scored(speakers, utterances, *pairs, np.random.default_rng(0))


def scored(
    speakers: int, utterances: int, enrol: np.ndarray, test: np.ndarray, rng: np.random.Generator
) -> Case:
    """The trials of utterances numbered by speaker, with names as long as VoxCeleb's.

    The scores have an EER of about 3 %: log likelihood ratios, but for a part that each speaker adds.
    """
    names = [
        f"id{10000 + number // utterances}/{number:011d}/{number % utterances:05d}.wav"  # sorted
        for number in range(speakers * utterances)
    ]
    first, second = enrol // utterances, test // utterances
    trials = Trials(names, enrol.astype(np.int32), test.astype(np.int32), first == second)
    ease = 1.5 * rng.standard_normal(speakers)
    scores = np.where(trials.target, 7, -7) + ease[first] + ease[second]
    return Case(trials, [name[:7] for name in names], scores + 3.1 * rng.standard_normal(len(trials)))
