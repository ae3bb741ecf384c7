"""Score normalisation: scores relative to those that a cohort of other speakers gets.

With mu and sigma the mean and deviation of the cohort scores of the enrolled side e and of the test t:
    z-norm   (s - mu_e) / sigma_e
    t-norm   (s - mu_t) / sigma_t
    s-norm   half the sum of both (Kenny, Odyssey 2010)
    as-norm  s-norm whose mu and sigma are of the `top` highest scores of each side (Matejka et al.,
             Interspeech 2017, AS-norm1)

Deviations are those of a population (of n, not n - 1).
"""

import logging
from dataclasses import replace

import numpy as np

from spkdistill.backend.inputs import Side
from spkdistill.backend.llr import BLOCK_PAIRS
from spkdistill.backend.system import CosineSystem, PldaSystem
from spkdistill.errors import DataError

ROUNDING = 1e-9  # scores that differ by so small a share of the largest are one and the same
SIDES = {"z": ("enrol",), "t": ("test",), "s": ("enrol", "test"), "as": ("enrol", "test")}

log = logging.getLogger(__name__)


def normalise_scores(
    scores: np.ndarray,
    system: CosineSystem | PldaSystem,
    sides: dict[str, tuple[Side, np.ndarray]],
    cohort: Side,
    kind: str,
    top: int,
) -> np.ndarray:
    """Scores (trials,) normalised against `cohort`, speakers' mean embeddings as they are read.

    sides: for "enrol" and "test" the placed vectors, and the row of each trial's. The cohort is tested, as
    single utterances, for the enrolled side, and enrolled, with its counts, for the test side.
    """
    size = cohort_size(cohort, kind, top)
    single = replace(cohort, counts=np.ones_like(cohort.counts))
    placed = {"enrol": system.place(single), "test": system.place(cohort)}
    parts = []
    for name in SIDES[kind]:
        side, rows = sides[name]
        mean, deviation = cohort_statistics(system, side, rows, placed[name], name == "enrol", size)
        parts.append((scores - mean[rows]) / deviation[rows])
    return sum(parts) / len(parts)


def cohort_size(cohort: Side, kind: str, top: int) -> int:
    """How many cohort scores of each side count; DataError where there are too few for a deviation."""
    if len(cohort.names) < 2:
        raise DataError(f"score_norm {kind}: a cohort needs two speakers or more, found {len(cohort.names)}")
    if kind == "as" and len(cohort.names) < top:
        log.warning("cohort_top %d: the cohort has %d speakers, all are used", top, len(cohort.names))
    return min(top, len(cohort.names)) if kind == "as" else len(cohort.names)


def cohort_statistics(
    system: CosineSystem | PldaSystem,
    side: Side,
    used: np.ndarray,
    cohort: Side,
    enrolled: bool,
    size: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Mean and deviation, each (N,), of the `size` highest scores of each of `side` against the cohort.

    They are there for the rows `used`. Blocks are fixed, so that they do not depend on what else is used.
    """
    means, deviations, largest = np.full((3, len(side.names)), np.nan)
    step = max(1, BLOCK_PAIRS // len(cohort.names))
    for block in np.unique(used // step):
        rows = slice(block * step, (block + 1) * step)
        pairs = system.pairs(side.part(rows), cohort) if enrolled else system.pairs(cohort, side.part(rows))
        scores = pairs.all() if enrolled else pairs.all().T
        if size < len(cohort.names):
            scores = np.partition(scores, -size, axis=1)[:, -size:]
        means[rows], deviations[rows] = scores.mean(axis=1), scores.std(axis=1)
        largest[rows] = np.abs(scores).max(axis=1)
    for index in used[~(deviations[used] > ROUNDING * largest[used])][:1]:
        raise DataError(f"{side.names[index]}: its scores against the cohort do not vary; enlarge the cohort")
    return means, deviations
