"""Paired tests of systems with several seeds: against loops over resamples and seeds, and textbook tests."""

import json
import re

import numpy as np
import pytest
from scipy import stats

from spkdistill.cli import main
from spkdistill.errors import ConfigError
from spkdistill.files import read_tsv
from spkdistill.metrics.counts import ScoredTrials
from spkdistill.metrics.eer import eer
from spkdistill.metrics.evaluate import PAIRED_COLUMNS, differences, gains
from spkdistill.metrics.trainings import training_errors
from spkdistill.seeds import generator

SAMPLES = 60
SPEAKERS, UTTERANCES = 7, 4
NAMES = [f"s{speaker}-{utterance}" for speaker in range(SPEAKERS) for utterance in range(UTTERANCES)]
TRIALS = [(one, other) for index, one in enumerate(NAMES) for other in NAMES[index + 1 :]]
TARGET = np.array([one[:2] == other[:2] for one, other in TRIALS])


@pytest.fixture
def scores(tmp_path) -> dict[str, np.ndarray]:
    """The scores of five files: three seeds of a good system, two of a worse one; the last are the worst."""
    rng = np.random.default_rng(0)
    (tmp_path / "utt2spk").write_text("".join(f"{name} {name[:2]}\n" for name in NAMES))
    labels = np.where(TARGET, "target", "nontarget")
    lines = [f"{one} {other} {label}\n" for (one, other), label in zip(TRIALS, labels, strict=True)]
    (tmp_path / "trials").write_text("".join(lines))
    found = {}
    for name, noise in (("a1", 0.6), ("a2", 1), ("a3", 2), ("b1", 1.2), ("b2", 4)):
        found[name] = np.round(2 * TARGET + noise * rng.normal(size=len(TRIALS)), 3)
        rows = [f"{one} {other} {score}\n" for (one, other), score in zip(TRIALS, found[name], strict=True)]
        (tmp_path / name).write_text("".join(rows))
    return found


def paired(folder, *pairs, options=()) -> list[dict[str, str]]:
    """The rows of the command; a system is written as its files, `a1,a2`."""
    settings = {"bootstrap_samples": 1, "paired_samples": SAMPLES, "confidence": 0.9}
    settings |= {"p_targets": [0.05], "conditions": [], "duration_edges": []}
    named = [
        "=".join((each, re.sub(r"\w+", lambda file: str(folder / file[0]), each)))
        for pair in pairs
        for each in pair
    ]
    arguments = [word for index in range(0, len(named), 2) for word in ("--pair", *named[index : index + 2])]
    arguments += ["--trials", folder / "trials", "--utt2spk", folder / "utt2spk", "--output", folder / "out"]
    arguments += ["--settings", json.dumps(settings), "--seed", 5, *options]
    assert main(["--debug", "paired", *map(str, arguments)]) == 0
    return [dict(zip(PAIRED_COLUMNS, row, strict=True)) for row in read_tsv(folder / "out", PAIRED_COLUMNS)]


def eers_by_hand(scores: dict[str, np.ndarray]) -> dict[str, list[float]]:
    """The EER of each file on each resample, with trials that are repeated."""
    rng = generator(5, "metrics")
    sides = np.array([[int(one[1]), int(other[1])] for one, other in TRIALS])
    rates = {name: [] for name in scores}
    while len(rates["a1"]) < SAMPLES:
        times = rng.multinomial(SPEAKERS, np.full(SPEAKERS, 1 / SPEAKERS))
        copies = [times[one] if one == other else times[one] * times[other] for one, other in sides]
        target = np.repeat(TARGET, copies)
        if target.any() and not target.all():
            for name, of_file in scores.items():
                rates[name].append(eer(ScoredTrials(np.repeat(of_file, copies), target).count()))
    return rates


def test_rows_are_those_of_loops_over_resamples_and_seeds(tmp_path, scores):
    first, second = paired(tmp_path, ("a1,a2,a3", "b1,b2"), ("a1,a2,a3", "b1"))
    on_all = {name: eer(ScoredTrials(of_file, TARGET).count()) for name, of_file in scores.items()}
    a = [on_all[name] for name in ("a1", "a2", "a3")]
    resampled = eers_by_hand(scores)

    def pooled(rates):
        of_a, of_b = (
            [rates[f"{system}{seed}"] for seed in seeds] for system, seeds in (("a", "123"), ("b", "12"))
        )
        return (2 * np.var(of_a, ddof=1) + np.var(of_b, ddof=1)) / 3

    moved = [pooled({name: rates[sample] for name, rates in resampled.items()}) for sample in range(SAMPLES)]
    variance = 2 * pooled(on_all) - np.mean(moved)
    assert variance > 0
    deviates = generator(5, "metrics", "trainings").standard_t(3, SAMPLES)
    for row, others, share in ((first, ["b1", "b2"], 1 / 3 + 1 / 2), (second, ["b1"], 1 / 3)):
        drawn = []
        for sample in range(SAMPLES):
            one = sum(resampled[name][sample] for name in ("a1", "a2", "a3")) / 3
            other = sum(resampled[name][sample] for name in others) / len(others)
            drawn.append(one - other + (variance * share) ** 0.5 * deviates[sample])
        assert float(row["eer_system"]) == pytest.approx(np.mean(a))
        assert float(row["eer_baseline"]) == pytest.approx(np.mean([on_all[name] for name in others]))
        ends = np.quantile(drawn, [0.05, 0.95])
        assert [float(row["low"]), float(row["high"])] == pytest.approx(ends, abs=1e-12)
        smaller = min(sum(value <= 0 for value in drawn), sum(value >= 0 for value in drawn))
        assert float(row["p_value"]) == pytest.approx(2 * (smaller + 1) / (SAMPLES + 1))


def test_systems_of_one_seed_are_compared_by_their_speakers_alone(tmp_path, scores):
    (row,) = paired(tmp_path, ("a1", "b1"))
    resampled = eers_by_hand(scores)
    drawn = np.array(resampled["a1"]) - np.array(resampled["b1"])
    assert [float(row["low"]), float(row["high"])] == np.quantile(drawn, [0.05, 0.95]).tolist()


def test_the_gain_is_the_share_of_the_baselines_eer_that_goes(tmp_path, scores):
    (row,) = paired(tmp_path, ("a1", "b1"))
    resampled = eers_by_hand(scores)
    drawn = 1 - np.array(resampled["a1"]) / np.array(resampled["b1"])
    assert np.allclose([float(row["gain_low"]), float(row["gain_high"])], np.quantile(drawn, [0.05, 0.95]))
    assert float(row["gain"]) == pytest.approx(1 - float(row["eer_system"]) / float(row["eer_baseline"]))


def test_other_seeds_widen_the_gain_as_they_do_the_difference():
    values, pairs = np.array([0.10, 0.12, 0.11, 0.20, 0.22, 0.21]), [([[0, 1, 2]], [[3, 4, 5]])]
    still = np.broadcast_to(values, (20_000, 6))
    errors, freedom = training_errors(values[:, None], still[:, :, None], pairs, shared=False)
    deviates = np.random.default_rng(0).standard_t(freedom, len(still))
    moved = np.outer(errors[:, 0], deviates)
    ((gain, low, high),) = gains(values, still, pairs, moved, 0.95)
    ((_, base, _, least, most, *_),) = differences(values, still, pairs, moved, 0.95)
    assert gain == pytest.approx(1 - 0.11 / 0.21)
    assert (low, high) == pytest.approx((-most / base, -least / base))


def test_where_the_baseline_makes_no_error_there_is_no_gain():
    values, still = np.array([0.1, 0.0]), np.array([[0.1, 0.0], [0.2, 0.1]])
    pairs, none = [([[0]], [[1]])], np.zeros((1, 2))
    assert np.isnan(gains(values, still, pairs, none, 0.95)).all()
    assert np.isnan(gains(values + 0.1, still, pairs, none, 0.95)).all()


def test_systems_that_share_their_seeds_need_as_many_files(tmp_path, scores):
    assert len(paired(tmp_path, ("a1,a2", "b1,b2"), options=["--shared-seeds"])) == 1
    with pytest.raises(ConfigError, match="--shared-seeds: both systems of a pair need as many score files"):
        paired(tmp_path, ("a1,a2,a3", "b1,b2"), options=["--shared-seeds"])


def p_values(values, pairs, shared, samples=200_000) -> list[float]:
    """p-values where resampled speakers change nothing."""
    still = np.broadcast_to(values, (samples, len(values)))
    errors, freedom = training_errors(values[:, None], still[:, :, None], pairs, shared)
    deviates = np.random.default_rng(0).standard_t(freedom, samples)
    rows = differences(values, still, pairs, np.outer(errors[:, 0], deviates), 0.95)
    return [row[-2] for row in rows]


def test_where_speakers_add_nothing_the_test_is_students():
    a, b, c = [1.0, 1.3, 1.1], [1.5, 1.4, 1.9], [1.2, 1.7]
    values = np.array([*a, *b, *c])
    (p,) = p_values(values, [([[0, 1, 2]], [[3, 4, 5]])], shared=False)
    assert p == pytest.approx(stats.ttest_ind(a, b).pvalue, rel=0.03)
    (p,) = p_values(values, [([[0, 1, 2]], [[3, 4, 5]])], shared=True)
    assert p == pytest.approx(stats.ttest_rel(a, b).pvalue, rel=0.03)
    p, _ = p_values(values, [([[0, 1, 2]], [[3, 4, 5]]), ([[0, 1, 2]], [[6, 7]])], shared=False)
    pooled = (2 * np.var(a, ddof=1) + 2 * np.var(b, ddof=1) + np.var(c, ddof=1)) / 5
    statistic = (np.mean(a) - np.mean(b)) / np.sqrt(pooled * 2 / 3)
    assert p == pytest.approx(2 * stats.t.sf(abs(statistic), 5), rel=0.03)


def test_a_system_of_several_students_is_the_mean_over_them_with_the_variance_within_each(tmp_path, scores):
    values = np.array([1.0, 1.3, 1.1, 3.2, 3.0, 1.5, 1.4, 1.9, 3.3, 3.0])
    one, other = [[0, 1, 2], [3, 4]], [[5, 6, 7], [8, 9]]
    within = sum(np.sum((values[seeds] - values[seeds].mean()) ** 2) for seeds in [*one, *other]) / 6
    difference = np.mean([values[seeds].mean() for seeds in one]) - np.mean(
        [values[seeds].mean() for seeds in other]
    )
    statistic = difference / np.sqrt(within * 2 * (1 / 3 + 1 / 2) / 4)
    (p,) = p_values(values, [(one, other)], shared=False)
    assert p == pytest.approx(2 * stats.t.sf(abs(statistic), 6), rel=0.03)
    (row,) = paired(tmp_path, ("a1,a2+b1", "a3+b2"))
    on_all = {name: eer(ScoredTrials(of_file, TARGET).count()) for name, of_file in scores.items()}
    assert float(row["eer_system"]) == pytest.approx((on_all["a1"] + on_all["a2"]) / 4 + on_all["b1"] / 2)
    assert float(row["eer_baseline"]) == pytest.approx((on_all["a3"] + on_all["b2"]) / 2)


def test_a_student_that_stands_in_a_system_twice_is_no_second_sample_of_its_seeds():
    values = np.array([1.0, 1.3, 1.1, 1.5, 1.4, 1.9, 1.2, 1.6, 1.3])
    one, other = [[0, 1, 2], [3, 4, 5]], [[6, 7, 8], [6, 7, 8]]
    within = sum(np.var(values[start : start + 3], ddof=1) for start in (0, 3, 6)) / 3
    difference = np.mean(values[:6]) - np.mean(values[6:])
    statistic = difference / np.sqrt(within * (2 / 3 / 4 + 1 / 3))
    (p,) = p_values(values, [(one, other)], shared=False)
    assert p == pytest.approx(2 * stats.t.sf(abs(statistic), 6), rel=0.03)


@pytest.mark.parametrize("of_seeds", [0.0, 0.3, 1.0])
def test_equal_systems_differ_as_rarely_as_the_level_says_and_unequal_ones_are_told_apart(of_seeds):
    """Rates are means over 30 speakers, of what a system, and a seed of it, do to each; all normal.

    Without seeds in the test, equal systems would be told apart in a third of the runs where seeds vary most.
    """
    rng = np.random.default_rng(1)
    systems, seeds, speakers, samples, runs = 5, 3, 30, 200, 300
    pairs = [([[0, 1, 2]], [[3, 4, 5]])]
    others = [([range(3 * one, 3 * one + 3)], [[0, 1, 2]]) for one in range(2, systems)]
    found = {0.0: 0, 3.0: 0}
    for _ in range(runs):
        of_system = rng.normal(size=(systems, 1, speakers)) * speakers**0.5 * 0.5
        of_seed = rng.normal(size=(systems, seeds, 1)) * of_seeds
        both = rng.normal(size=(systems, seeds, speakers)) * speakers**0.5 * 0.2
        rates = (of_system + of_seed + both).reshape(-1, speakers)
        weights = rng.multinomial(speakers, np.full(speakers, 1 / speakers), size=samples) / speakers
        for shift in found:
            moved = rates + shift * (np.arange(len(rates)) < 3)[:, None]
            values, resampled = moved.mean(axis=1), weights @ moved.T
            errors, freedom = training_errors(
                values[:, None], resampled[:, :, None], [*pairs, *others], shared=False
            )
            deviates = np.outer(errors[:1, 0], rng.standard_t(freedom, samples))
            (row,) = differences(values, resampled, pairs, deviates, 0.95)
            found[shift] += row[-2] < 0.05
    assert 0.01 < found[0.0] / runs < 0.085
    assert found[3.0] / runs > 0.7
