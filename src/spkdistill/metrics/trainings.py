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
- tau^2 is seen on the speakers there are, so it holds some of what resampled speakers show as well: tests err
  on the side of finding nothing.
- A system of one training, as a teacher, is that model and no other: its training adds no variance.
"""

from collections.abc import Sequence

import numpy as np

from spkdistill.errors import ConfigError

Pair = tuple[Sequence[int], Sequence[int]]  # the places of a system's trainings, and of its baseline's


def training_errors(values: np.ndarray, pairs: Sequence[Pair], shared: bool) -> tuple[np.ndarray, int]:
    """The standard error that seeds give each pair's difference, (pairs, rates), and its degrees of freedom.

    `values` are the rates of each training, (trainings, rates). ConfigError: `shared` without as many
    trainings on both sides.
    """
    if shared:
        if any(len(one) != len(other) for one, other in pairs):
            raise ConfigError("--shared-seeds: both systems of a pair need as many score files, seed by seed")
        samples = [values[list(one)] - values[list(other)] for one, other in pairs]
        counts = [[len(one)] for one, _ in pairs]
    else:
        samples = [
            values[list(system)] for system in dict.fromkeys(tuple(each) for pair in pairs for each in pair)
        ]
        counts = [[len(one), len(other)] for one, other in pairs]
    freedom = sum(len(sample) - 1 for sample in samples)
    squares = sum(((sample - sample.mean(axis=0)) ** 2).sum(axis=0) for sample in samples)
    shares = [sum(1 / count for count in of_pair if count > 1) for of_pair in counts]
    return np.sqrt(np.outer(shares, squares / max(freedom, 1))), freedom
