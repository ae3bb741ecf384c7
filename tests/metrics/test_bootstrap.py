"""Resampling of speakers: weights against trials repeated by hand, and intervals against a known truth."""

import math
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import ndtr

from spkdistill.metrics.bootstrap import GroupedTrials, Weights, holm, interval, resample, two_sided_p
from spkdistill.metrics.cllr import losses
from spkdistill.metrics.counts import ScoredTrials
from spkdistill.metrics.dcf import min_dcf
from spkdistill.metrics.eer import eer


def draw(rng, speakers=25, size=4, separation=1.2):
    """Scores whose noise is shared by the trials of a speaker, labels, and speakers of the two sides."""
    first, second = np.triu_indices(speakers, 1)
    pairs = np.array(
        [*zip(first, second, strict=True), *[(k, k) for k in range(speakers) for _ in range(size)]]
    )
    target = pairs[:, 0] == pairs[:, 1]
    offset = rng.normal(size=speakers)
    shared = (offset[pairs[:, 0]] + offset[pairs[:, 1]]) / 2 * np.where(target, 1, np.sqrt(2))
    return shared + rng.normal(size=len(pairs)) + 2 * separation * target, target, pairs


class Drawn:
    """A generator whose draws are known."""

    def __init__(self, multiplicity) -> None:
        self.rows = iter(multiplicity)

    def multinomial(self, total, shares):
        assert total == len(shares)
        return next(self.rows)


@pytest.mark.parametrize("speakers", [2, 3, 7])
def test_weighted_counts_are_those_of_the_trials_repeated_by_hand(speakers):
    rng = np.random.default_rng(0)
    scores, target, pairs = draw(rng, speakers, size=9)
    scores = np.round(scores, 1)  # ties
    fixed = [-0.3, 0.5, 2.0]
    thresholds = ScoredTrials(scores, target, fixed).thresholds
    system = GroupedTrials(scores, target, pairs, thresholds)
    multiplicity = rng.multinomial(speakers, np.full(speakers, 1 / speakers), size=60)
    multiplicity = multiplicity[np.count_nonzero(multiplicity, axis=1) > 1]  # of both kinds of trials some
    for drawn, (weights,) in zip(
        multiplicity, resample([system], len(multiplicity), Drawn(multiplicity)), strict=True
    ):
        copies = [drawn[a] if a == b else drawn[a] * drawn[b] for a, b in pairs]
        scores_again, target_again = np.repeat(scores, copies), np.repeat(target, copies)
        repeated, counts = ScoredTrials(scores_again, target_again).count(), weights.counts
        assert eer(counts) == eer(repeated)
        assert min_dcf(counts, 0.05) == min_dcf(repeated, 0.05)
        for threshold, misses, alarms in zip(thresholds, counts.misses, counts.false_alarms, strict=True):
            assert misses == np.count_nonzero(scores_again[target_again] < threshold)
            assert alarms == np.count_nonzero(scores_again[~target_again] >= threshold)
        assert weights.cllr() == pytest.approx(cllr_by_hand(scores_again, target_again), rel=1e-12)


def cllr_by_hand(scores, target):
    """The mean of log2(1 + e^-s) of targets and log2(1 + e^s) of non-targets."""
    of_targets = [math.log2(1 + math.exp(-s)) for s in scores[target]]
    of_nontargets = [math.log2(1 + math.exp(s)) for s in scores[~target]]
    return (sum(of_targets) / len(of_targets) + sum(of_nontargets) / len(of_nontargets)) / 2


def resampled(metric, scores_of_systems, target, pairs, samples, seed):
    """(systems, samples) of a metric of the weights."""
    systems = [
        GroupedTrials(s, target, pairs, ScoredTrials(s, target, [0.0]).thresholds) for s in scores_of_systems
    ]
    drawn = resample(systems, samples, np.random.default_rng(seed))
    return np.array([[metric(weights) for weights in of_systems] for of_systems in drawn]).T


def eer_of(weights):
    return eer(weights.counts)


def test_a_resample_without_one_kind_of_trial_is_drawn_again():
    scores, target, pairs = draw(np.random.default_rng(1), speakers=3, size=1)
    eers = resampled(eer_of, [scores], target, pairs, 50, seed=2)
    assert eers.shape == (1, 50)
    assert np.isfinite(eers).all()


def test_resamples_are_the_same_to_the_last_bit_whatever_the_order_of_the_trials():
    rng = np.random.default_rng(8)
    scores, target, pairs = draw(rng, speakers=6, size=9)
    scores = np.round(scores, 1)
    for metric in (eer_of, Weights.cllr):
        first = resampled(metric, [scores], target, pairs, 30, seed=2)
        for _ in range(3):
            order = rng.permutation(len(scores))
            again = resampled(metric, [scores[order]], target[order], pairs[order], 30, seed=2)
            np.testing.assert_array_equal(again, first)


def test_intervals_hold_the_true_rate_as_often_as_they_say_and_intervals_of_single_trials_do_not():
    """True EER of `draw`: both kinds of score are normal, separated by 2.4."""
    separation = 1.2
    deviation = np.sqrt(1 + 1.0)  # shared and own variance, of either kind
    truth = ndtr(-separation / deviation)
    steps = np.linspace(-8, 8, 2001) * deviation
    density = np.exp(-(steps**2) / 4) / np.exp(-(steps**2) / 4).sum()
    true_cllr = (losses(2 * separation + steps, True) @ density + losses(steps, False) @ density) / 2
    rng = np.random.default_rng(3)
    runs, held, held_cllr, held_single = 120, 0, 0, 0
    for run in range(runs):
        scores, target, pairs = draw(rng, separation=separation)
        eers, cllrs = resampled(lambda w: (eer(w.counts), w.cllr()), [scores], target, pairs, 200, seed=run)[
            :, 0
        ]
        low, high = interval(eers, 0.9)
        held += low <= truth <= high
        low, high = interval(cllrs, 0.9)
        held_cllr += low <= true_cllr <= high
        single = np.arange(len(pairs))[:, None].repeat(2, axis=1)  # every trial a speaker of its own
        low, high = interval(resampled(eer_of, [scores], target, single, 100, seed=run)[0], 0.9)
        held_single += low <= truth <= high
    assert 0.82 <= held / runs <= 0.97
    assert 0.82 <= held_cllr / runs <= 0.97
    assert held_single < held


def test_paired_differences_are_narrower_than_the_systems_and_find_the_better_one():
    rng = np.random.default_rng(4)
    scores, target, pairs = draw(rng, speakers=30)
    better = scores + 0.8 * target
    eers = resampled(eer_of, [scores, better], target, pairs, 400, seed=5)
    assert np.std(eers[0] - eers[1]) < np.std(eers[0])
    assert two_sided_p(eers[0] - eers[1]) < 0.02
    same = resampled(eer_of, [better, better], target, pairs, 100, seed=6)
    assert two_sided_p(same[0] - same[1]) == 1.0


def test_p_values_are_never_zero():
    assert two_sided_p(np.full(999, 0.1)) == 2 / 1000


@given(st.lists(st.sampled_from([0.001, 0.01, 0.02, 0.04, 0.3, 1.0]), min_size=1, max_size=8))
def test_holm_rejects_what_its_step_down_procedure_rejects(p_values):
    """At level a: in ascending order, reject while p <= a / (hypotheses left)."""
    adjusted = holm(p_values)
    for level in (0.005, 0.03, 0.05, 0.07, 0.2, 0.999):
        rejected = set()
        for step, index in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
            if p_values[index] > level / (len(p_values) - step):
                break
            rejected.add(index)
        assert {i for i, p in enumerate(adjusted) if p <= level} == rejected


def test_memory_does_not_grow_with_the_resamples_and_is_some_numbers_a_trial():
    rng = np.random.default_rng(9)
    speakers, trials = 40, 60_000
    pairs = rng.integers(speakers, size=(trials, 2))
    target = pairs[:, 0] == pairs[:, 1]
    scores = rng.normal(size=trials) + 2 * target
    peaks = []
    for samples in (2, 40):
        tracemalloc.start()
        resampled(eer_of, [scores], target, pairs, samples, seed=0)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.1 * peaks[0]
    assert peaks[1] < 150 * trials
