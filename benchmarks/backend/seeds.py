"""How often a paired test of students with three seeds finds a difference, where there is none or one.

`python -m benchmarks.backend.seeds`: six systems are drawn again and again, and the first two are compared
by four methods at p < 0.05. Scores are normal; what a system, and a seed of it, add to the trials of a
speaker is drawn for each speaker, and a seed moves the targets of all speakers by `OF_SEEDS` too.
"""

from collections.abc import Callable

import numpy as np
from benchmarks.timing import report

from spkdistill.metrics.bootstrap import GroupedTrials, resample, two_sided_p
from spkdistill.metrics.counts import ScoredTrials
from spkdistill.metrics.eer import eer
from spkdistill.metrics.trainings import training_errors

SYSTEMS, SEEDS, SPEAKERS, SAMPLES = 6, 3, 30, 200
OF_SEEDS = (0.0, 0.3, 1.0)  # standard deviations; trials have 1
BETTER = 0.8  # by which the targets of a better system score higher
RUNS = {0.0: 250, BETTER: 50}


def main() -> None:
    """A row for each spread of the seeds and each method."""
    rows = []
    for deviation in OF_SEEDS:
        equal, better = (compare_often(deviation, better, runs) for better, runs in RUNS.items())
        rows += [
            [deviation, name, f"{100 * equal[index]:.1f}", f"{100 * better[index]:.0f}"]
            for index, name in enumerate(METHODS)
        ]
    columns = ["deviation of seeds", "method", "false positives, %", "true differences found, %"]
    report("backend-seeds", columns, rows)


def compare_often(deviation: float, better: float, runs: int) -> np.ndarray:
    """The share of runs in which each method finds a difference, (methods,)."""
    rng = np.random.default_rng(0)
    found = np.zeros(len(METHODS))
    for _ in range(runs):
        values, resampled = draw(rng, deviation, better)
        found += [two_sided_p(method(values, resampled, rng)) < 0.05 for method in METHODS.values()]
    return found / runs


def draw(rng: np.random.Generator, deviation: float, better: float) -> tuple[np.ndarray, np.ndarray]:
    """EERs of every seed of every system, (systems, seeds), and on resampled speakers, (samples, ...)."""
    first, second = np.triu_indices(SPEAKERS, 1)
    own = np.repeat(np.arange(SPEAKERS), 6)
    speakers = np.array([np.append(own, first), np.append(own, second)]).T
    target = speakers[:, 0] == speakers[:, 1]
    shared, trials = rng.normal(size=SPEAKERS), []
    for system in range(SYSTEMS):
        of_system = shared + 0.5 * rng.normal(size=SPEAKERS)
        for _ in range(SEEDS):
            of_both = (of_system + 0.2 * rng.normal(size=SPEAKERS))[speakers].mean(axis=1)
            moved = 2.4 + deviation * rng.normal() + (better if system == 0 else 0)
            scores = of_both + rng.normal(size=len(target)) + moved * target
            trials.append(GroupedTrials(scores, target, speakers, ScoredTrials(scores, target).thresholds))
    once = np.ones(SPEAKERS + 1, dtype=np.int32)
    values = [eer(each.weigh(once).counts) for each in trials]
    resampled = [[eer(each.counts) for each in weights] for weights in resample(trials, SAMPLES, rng)]
    return np.reshape(values, (SYSTEMS, SEEDS)), np.reshape(resampled, (SAMPLES, SYSTEMS, SEEDS))


def speakers_alone(values: np.ndarray, resampled: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Differences with the seeds as they are, (samples,)."""
    means = resampled.mean(axis=2)
    return means[:, 0] - means[:, 1]


def seeds_drawn(values: np.ndarray, resampled: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Seeds drawn with replacement, each system's alone (arXiv 2106.16163)."""
    drawn = rng.integers(SEEDS, size=(SAMPLES, SYSTEMS, SEEDS))
    means = np.take_along_axis(resampled, drawn, axis=2).mean(axis=2)
    return means[:, 0] - means[:, 1]


def with_deviates(systems: int) -> Callable[..., np.ndarray]:
    """What `spkdistill paired` does with a table of so many systems."""

    def method(values: np.ndarray, resampled: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        places = [[range(SEEDS * system, SEEDS * (system + 1))] for system in range(systems)]
        pairs = [(places[0], other) for other in places[1:]]
        rates = values.reshape(-1, 1), resampled.reshape(SAMPLES, -1, 1)
        errors, freedom = training_errors(*rates, pairs, shared=False)
        return speakers_alone(values, resampled, rng) + errors[0, 0] * rng.standard_t(freedom, SAMPLES)

    return method


METHODS = {
    "speakers alone": speakers_alone,
    "seeds drawn with replacement": seeds_drawn,
    "t, variance of the two systems": with_deviates(2),
    "t, variance of the table (ours)": with_deviates(SYSTEMS),
}

if __name__ == "__main__":
    main()
