"""The randomness of training in paired tests, where a system is one student trained with several seeds.

The rate of such a system is its mean over the S seeds. Resampled speakers say how far a difference of two
rates would move with other speakers, and with the same seeds. With other seeds it would move too: by a normal
deviate of the variance tau^2 (1/S + 1/S') where trainings have the variance tau^2. Each resample gets such a
deviate, from Student's t as tau^2 is estimated: a parametric form of the two-way bootstrap.

- Drawing seeds with replacement as speakers are (the multi-bootstrap of arXiv 2106.16163) is not enough here:
  a resample of three has 2/3 of their variance and no tails (`python -m benchmarks.backend.seeds`).
- tau^2 is pooled over all systems of a table, as in an analysis of variance: two systems of three seeds have
  4 degrees of freedom, with which hardly anything would be left after Holm's correction.
- Seeds of two systems are independent, since a training draws from its seed and its name; pairing them would
  only cost degrees of freedom. Where both systems score the same trainings (`shared`), their differences
  within a seed take the place of the rates.
- The variance seen between seeds, s^2, holds tau^2 and what is due to the speakers, which resampled speakers
  show as well: on them the variance is s*^2, larger by that part, so tau^2 = s^2 - (s*^2 - s^2), 0 at least.
- A system of one training, as a teacher, is that model and no other: its training adds no variance.
- A system may be several students, as a loss is that trains each of some pairs of teacher and student: its
  rate is the mean over the P students of their means over seeds, with the training variance
  tau^2 / P^2 sum 1/S_p, and tau^2 is of seeds within a student.
"""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from spkdistill.errors import ConfigError

Students = Sequence[Sequence[int]]  # a system: the places of each student's trainings, one a seed
Pair = tuple[Students, Students]  # a system and its baseline


def training_errors(
    values: np.ndarray, resampled: np.ndarray, pairs: Sequence[Pair], shared: bool
) -> tuple[np.ndarray, int]:
    """The standard error that seeds give each pair's difference, (pairs, rates), and its degrees of freedom.

    `values` are the rates of each training, (trainings, rates), `resampled` those on resampled speakers,
    (samples, trainings, rates). ConfigError: `shared` without as many trainings on both sides.
    """
    if shared and any(list(map(len, one)) != list(map(len, other)) for one, other in pairs):
        raise ConfigError("--shared-seeds: both systems of a pair need as many score files, seed by seed")
    seen = by_seed(values, pairs, shared)
    freedom = sum(len(sample) - 1 for sample in seen)
    squares = 2 * squared_deviations(seen) - squared_deviations(by_seed(resampled, pairs, shared)).mean(
        axis=0
    )
    variance = squares.clip(min=0) / max(freedom, 1)
    independent = [[one] if shared else [one, other] for one, other in pairs]
    shares = [sum(map(share_of_variance, of_pair)) for of_pair in independent]
    return np.sqrt(np.outer(shares, variance)), freedom


def share_of_variance(students: Students) -> float:
    """The variance of a system's rate for a variance of 1 between the seeds of a student.

    A student may be there several times, as one without a teacher is that stands beside several teachers.
    """
    times = Counter(map(tuple, students))
    shares = ((count / len(students)) ** 2 / len(seeds) for seeds, count in times.items() if len(seeds) > 1)
    return sum(shares)


def by_seed(rates: np.ndarray, pairs: Sequence[Pair], shared: bool) -> list[np.ndarray]:
    """What seeds move, (..., seeds, rates) each: every student's rates, or the differences of every pair."""
    if shared:
        alike = [students for pair in pairs for students in zip(*pair, strict=True)]
        return [rates[..., list(one), :] - rates[..., list(other), :] for one, other in alike]
    students = dict.fromkeys(tuple(seeds) for pair in pairs for system in pair for seeds in system)
    return [rates[..., list(seeds), :] for seeds in students]


def rate_of(students: Students, rates: np.ndarray) -> np.ndarray:
    """A system's rate, (...,), from those of trainings, (..., trainings)."""
    return np.mean([rates[..., list(seeds)].mean(axis=-1) for seeds in students], axis=0)


def squared_deviations(samples: Sequence[np.ndarray]) -> np.ndarray:
    """The sum over samples (..., seeds, rates) of the squared deviations from their means: (..., rates)."""
    return sum(((one - one.mean(axis=-2, keepdims=True)) ** 2).sum(axis=-2) for one in samples)
