"""Scores of lists of trials at dimension 200, once the vectors are in memory: PLDA, cosine and AS-norm.

`python -m benchmarks.backend.scoring`
"""

from collections.abc import Callable

import numpy as np
from benchmarks.backend.synthetic import plda_model
from benchmarks.timing import report, timed

from spkdistill.backend.inputs import Side
from spkdistill.backend.llr import cosine_pairs, plda_pairs, plda_space
from spkdistill.backend.score_norm import normalise_scores
from spkdistill.backend.system import CosineSystem, Reduction
from spkdistill.backend.vectors import normalise_length

DIM, TRIALS = 200, 500_000
KALDI = 27  # units of ivector-plda-scoring for 500,000 trials (issue 3): not measured here
SHAPES = {  # models, tests, utterances of a model at most
    "PLDA, all pairs": (1_000, 500, 1),
    "PLDA, list": (5_000, 5_000, 1),
    "PLDA, list, 1 to 10 enrolled": (5_000, 5_000, 10),
    "PLDA, sparse list": (4_000, 100_000, 1),
    "PLDA, sparser list": (100_000, 100_000, 1),
}
COLUMNS = ["scores", "models", "tests", "trials"] + [
    f"{part}, {measure}" for part in ("placing", "scoring", "both") for measure in ("s", "units")
]

rng = np.random.default_rng(0)


def main() -> None:
    """Measure each kind of scores; Kaldi's time is known for PLDA and 500,000 trials."""
    rows = []
    for name, shape in SHAPES.items():
        row, units = plda(name, *shape)
        rows.append([*row, f"{KALDI / units:.0f}"])
    others = cosine(5_000), all_pairs(5_000), as_norm(5_000, 6_000, 300)
    rows += [[*row, "-"] for row, _ in others]
    report("backend-scoring", [*COLUMNS, "times as fast as Kaldi"], rows)


def plda(name: str, models: int, tests: int, most: int) -> tuple[list[object], float]:
    """A list of 500,000 trials, models of 1 to `most` utterances."""
    model, counts = plda_model(DIM), rng.integers(1, most, size=models, endpoint=True)
    enrol, test = drawn_vectors(models), drawn_vectors(tests)
    first, second = drawn_list(models, tests)

    def place() -> tuple[np.ndarray, np.ndarray]:
        return plda_space(model, enrol, counts, True), plda_space(model, test, 1, True)

    placed = place()
    return measured(
        name,
        (models, tests, TRIALS),
        place,
        lambda: plda_pairs(model.psi, placed[0], counts, placed[1]).of(first, second),
    )


def cosine(utterances: int) -> tuple[list[object], float]:
    """A list of 500,000 trials."""
    enrol, test = drawn_vectors(utterances), drawn_vectors(utterances)
    first, second = drawn_list(utterances, utterances)

    def place() -> list[np.ndarray]:
        return [normalise_length(side, [], scale_up=False) for side in (enrol, test)]

    placed = place()
    size = (utterances, utterances, TRIALS)
    return measured("cosine, list", size, place, lambda: cosine_pairs(*placed).of(first, second))


def all_pairs(utterances: int) -> tuple[list[object], float]:
    """PLDA of every utterance and every later one, given as a list."""
    model, vectors = plda_model(DIM), drawn_vectors(utterances)
    ones = np.ones(utterances, dtype=np.int64)
    first, second = np.triu_indices(utterances, 1)
    placed = plda_space(model, vectors, 1, True)
    return measured(
        "PLDA, all pairs",
        (utterances, utterances, len(first)),
        lambda: plda_space(model, vectors, 1, True),
        lambda: plda_pairs(model.psi, placed, ones, placed).of(first, second),
    )


def as_norm(utterances: int, cohort: int, top: int) -> tuple[list[object], float]:
    """AS-norm of 500,000 cosines that are there; its scores are those of both sides with the cohort."""
    system = CosineSystem(Reduction(DIM, np.zeros(DIM), None))
    side, others = (
        Side([str(number) for number in range(n)], drawn_vectors(n), np.ones(n, dtype=np.int64))
        for n in (utterances, cohort)
    )
    first, second = drawn_list(utterances, utterances)
    placed = system.place(side)
    sides = {"enrol": (placed, first), "test": (placed, second)}
    scores = system.pairs(placed, placed).of(first, second)
    return measured(
        f"AS-norm, top {top} of {cohort}",
        (utterances, utterances, TRIALS),
        lambda: system.place(side),
        lambda: normalise_scores(scores, system, sides, others, "as", top),
    )


def drawn_vectors(number: int) -> np.ndarray:
    """Vectors of utterances, (number, DIM)."""
    return rng.standard_normal((number, DIM))


def drawn_list(models: int, tests: int) -> tuple[np.ndarray, np.ndarray]:
    """500,000 different pairs in the order of the models, as lists of trials mostly are."""
    pairs = rng.choice(models * tests, TRIALS, replace=False, shuffle=False)
    return np.divmod(np.sort(pairs), tests)


def measured(
    name: str, size: tuple[int, int, int], place: Callable[[], object], score: Callable[[], object]
) -> tuple[list[object], float]:
    """A row of the table, and the units that placing and scoring take together."""
    times = timed({"place": place, "score": score}, 3)
    seconds, units = (sum(getattr(one, part) for one in times.values()) for part in ("seconds", "units"))
    cells = [cell for one in times.values() for cell in one.cells()]
    return [name, *size, *cells, f"{seconds:.3g}", f"{units:.3g}"], units


if __name__ == "__main__":
    main()
