"""Ours beside SpeechBrain and scikit-learn: agreement, then speed. README.md explains the differences.

`python -m benchmarks.backend.toolkits`, with what toolkits.txt lists on PYTHONPATH.
"""

from collections.abc import Callable

import numpy as np
from benchmarks.backend import others
from benchmarks.backend.synthetic import TRIALS, drawn_list, speaker_vectors
from benchmarks.timing import report, timed
from scipy.stats import multivariate_normal

from spkdistill.backend.llr import PairScores, plda_pairs, plda_space
from spkdistill.backend.plda import Plda, train_plda
from spkdistill.metrics.counts import ScoredTrials
from spkdistill.metrics.dcf import min_dcf
from spkdistill.metrics.eer import eer, eer_hull

Row = list[object]


def main() -> None:
    """Write two tables."""
    agreement = [*same_model(), *converging_models(), *enrolled_means(), *eers(), *min_dcfs()]
    report("backend-toolkits-agreement", ["what", "spkdistill", "other", "toolkit"], agreement)
    columns = ["what", "spkdistill, s", "other, s", "times as fast", "toolkit"]
    report("backend-toolkits-speed", columns, [*plda_speed(), *metric_speed()])


def same_model() -> list[Row]:
    """The LLRs of one model, dimension 200, all pairs of 1,000 and 500 utterances."""
    vectors, speakers = speaker_vectors(np.full(1000, 20), 200)
    plda = train_plda(vectors, speakers, 10)
    sides = vectors[::20], vectors[7:10_000:20]
    scores, other = pairs(plda, *sides).all(), others.llrs(others.model_of(plda), *sides)
    return [
        compared("LLR of the same model, largest", abs(scores).max(), abs(other).max(), ".6f"),
        ["LLR of the same model, largest difference", "", f"{abs(scores - other).max():.1g}", "SpeechBrain"],
    ]


def converging_models() -> list[Row]:
    """The fit of models to the 10,000 vectors, dimension 20, that they are trained on."""
    vectors, speakers = speaker_vectors(np.full(500, 20), 20)
    rows = []
    for iterations in (10, 100, 1000):
        ours = others.model_of(train_plda(vectors, speakers, iterations))
        other = others.train(vectors, speakers, iterations)
        name = f"PLDA after {iterations} iterations"
        likelihoods = (log_likelihood(model, vectors, 20) for model in (ours, other))
        rows.append(compared(f"{name}, log likelihood of a vector", *likelihoods, ".6f"))
        apart = relative(other[1] @ other[1].T, ours[1] @ ours[1].T), relative(other[2], ours[2])
        rows.append(
            [f"{name}, relative difference of B, W", "", "{:.1g}, {:.1g}".format(*apart), "SpeechBrain"]
        )
    return rows


def enrolled_means() -> list[Row]:
    """EERs of 500 new speakers, dimension 20, of means of five; each toolkit has trained its own model."""
    vectors, speakers = speaker_vectors(np.full(1000, 20), 20)
    known = speakers < 500
    plda = train_plda(vectors[known], speakers[known], 10)
    model = others.train(vectors[known], speakers[known], 10)
    new = vectors[~known].reshape(500, 20, -1)
    enrol, test, target = new[:, :5].mean(axis=1), new[:, 5], np.eye(500, dtype=bool).ravel()
    other = eer(ScoredTrials(others.llrs(model, enrol, test).ravel(), target).count())
    rows = []
    for name, count in (("as 5", 5), ("as 1", 1)):
        scores = pairs(plda, enrol, test, count).all().ravel()
        own = eer(ScoredTrials(scores, target).count())
        rows.append(compared(f"EER of PLDA, means of 5 counted {name} here", own, other, ".2%"))
    return rows


def eers() -> list[Row]:
    """Scores as they are, and rounded, so that many tie."""
    rows = []
    for name, scores, target in rounded_scores():
        trials = ScoredTrials(scores, target)
        own = eer(trials.count())
        rows += [
            compared(f"EER, {name}", own, others.speechbrain_eer(scores, target), ".3%"),
            compared(f"EER, {name}", own, others.roc_eer(scores, target), ".3%", "scikit-learn"),
            [f"EER on the convex hull, {name}", f"{eer_hull(trials):.3%}", "", ""],
        ]
    return rows


def min_dcfs() -> list[Row]:
    """SpeechBrain's times 1 / min(P, 1 - P)."""
    rows = []
    for name, scores, target in rounded_scores():
        for prior in (0.01, 0.05):
            other = others.speechbrain_min_dcf(scores, target, prior) / min(prior, 1 - prior)
            own = min_dcf(ScoredTrials(scores, target).count(), prior)
            rows.append(compared(f"minDCF at {prior}, {name}", own, other, ".6f"))
    return rows


def plda_speed() -> list[Row]:
    """Dimension 200; SpeechBrain scores every pair, ours every pair or those of a list."""
    vectors, speakers = speaker_vectors(np.full(1000, 20), 200)
    plda = train_plda(vectors, speakers, 10)
    model = others.model_of(plda)
    sides, many = (vectors[:1000], vectors[1000:1500]), (vectors[:5000], vectors[5000:10_000])
    trials = np.random.default_rng(0).integers(5000, size=(2, 500_000))
    listed = "LLRs of 500,000 trials listed of 5,000 x 5,000"
    return [
        faster(
            "PLDA training of 20,000 vectors of 1,000 speakers, 10 iterations",
            lambda: train_plda(vectors, speakers, 10),
            lambda: others.train(vectors, speakers, 10),
        ),
        faster(
            "LLRs of all pairs, 1,000 x 500",
            lambda: pairs(plda, *sides).all(),
            lambda: others.llrs(model, *sides),
        ),
        faster(
            listed,
            lambda: pairs(plda, *many).of(*trials),
            lambda: others.llrs(model, *many)[tuple(trials)],
        ),
    ]


def metric_speed() -> list[Row]:
    """SpeechBrain's EER takes time, and its minDCF memory, that grow with the square of the trials."""
    few, some, many = ((case.scores, case.trials.target) for case in map(drawn_list, (4_000, 20_000, TRIALS)))
    return [
        faster(
            "minDCF of 4,000 trials",
            lambda: min_dcf(ScoredTrials(*few).count(), 0.01),
            lambda: others.speechbrain_min_dcf(*few, 0.01),
        ),
        faster(
            "EER of 20,000 trials",
            lambda: eer(ScoredTrials(*some).count()),
            lambda: others.speechbrain_eer(*some),
        ),
        faster(
            "EER of 580,000 trials",
            lambda: eer(ScoredTrials(*many).count()),
            lambda: others.roc_eer(*many),
            "scikit-learn",
        ),
    ]


def pairs(plda: Plda, enrol: np.ndarray, test: np.ndarray, count: int = 1) -> PairScores:
    """Our LLRs, without length normalisation, which SpeechBrain does not have."""
    placed = [plda_space(plda, side, 1, normalize_length=False) for side in (enrol, test)]
    return plda_pairs(plda.psi, placed[0], np.full(len(enrol), count), placed[1])


def rounded_scores() -> list[tuple[str, np.ndarray, np.ndarray]]:
    """2,000 trials, a quarter of them targets: scores of an EER of 6 %, and how they are rounded."""
    target = np.arange(2000) < 500
    scores = 2 * np.random.default_rng(0).standard_normal(2000) + np.where(target, 3, -3)
    halves = np.round(2 * scores) / 2
    return [
        ("no ties", scores, target),
        ("in steps of 0.5", halves, target),
        ("integers", scores.round(), target),
    ]


def log_likelihood(model: others.Model, vectors: np.ndarray, size: int) -> float:
    """The mean of the vectors (K * size, D), `size` of each speaker in turn.

    A speaker's mean is N(mu, B + W / size); the vectors around it have the likelihood of size - 1 draws of
    N(0, W), and a factor size^(-D / 2) as the mean is not scaled.
    """
    mean, voices, within = model
    grouped = vectors.reshape(-1, size, len(mean))
    means = grouped.mean(axis=1)
    spread = (grouped - means[:, None]).reshape(vectors.shape)
    zero = np.zeros(len(mean))
    around = multivariate_normal.logpdf(spread, zero, within).sum()
    around -= len(means) * (multivariate_normal.logpdf(zero, zero, within) + len(mean) / 2 * np.log(size))
    between = multivariate_normal.logpdf(means, mean, voices @ voices.T + within / size).sum()
    return float(around + between) / len(vectors)


def relative(matrix: np.ndarray, other: np.ndarray) -> float:
    """The Frobenius norm of the difference over that of `other`."""
    return float(np.linalg.norm(matrix - other) / np.linalg.norm(other))


def compared(what: str, ours: float, other: float, form: str, toolkit: str = "SpeechBrain") -> Row:
    """A row of two numbers."""
    return [what, format(ours, form), format(other, form), toolkit]


def faster(
    what: str, ours: Callable[[], object], other: Callable[[], object], toolkit: str = "SpeechBrain"
) -> Row:
    """A row of two times."""
    times = timed({"ours": ours, "other": other}, 3)
    seconds = times["ours"].seconds, times["other"].seconds
    ratio = times["other"].units / times["ours"].units
    return [
        what,
        *(f"{one:.3g}" for one in seconds),
        f"{ratio:.2g}" if ratio < 100 else f"{ratio:.0f}",
        toolkit,
    ]


if __name__ == "__main__":
    main()
