"""Resampling of speakers: weights against trials repeated by hand, and intervals against a known truth."""

import numpy as np
from scipy.special import ndtr

from spkdistill.metrics.bootstrap import interval, resampled_counts, two_sided_p
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
        self.multiplicity = multiplicity

    def multinomial(self, total, shares, size):
        assert (total, size) == (self.multiplicity.shape[1], len(self.multiplicity))
        return self.multiplicity


def test_weighted_counts_are_those_of_the_trials_repeated_by_hand():
    rng = np.random.default_rng(0)
    scores, target, pairs = draw(rng, speakers=7)
    scores = np.round(scores, 1)  # ties
    trials = ScoredTrials(scores, target)
    multiplicity = rng.multinomial(7, np.full(7, 1 / 7), size=20)
    (counts,) = next(resampled_counts([trials], pairs, 20, Drawn(multiplicity)))
    for row, drawn in enumerate(multiplicity):
        copies = [drawn[a] if a == b else drawn[a] * drawn[b] for a, b in pairs]
        repeated = ScoredTrials(np.repeat(scores, copies), np.repeat(target, copies)).count()
        assert eer(counts)[row] == eer(repeated)
        assert min_dcf(counts, 0.05)[row] == min_dcf(repeated, 0.05)


def resampled_eers(systems, pairs, samples, seed):
    blocks = resampled_counts(systems, pairs, samples, np.random.default_rng(seed))
    return np.concatenate([np.stack([eer(counts) for counts in block]) for block in blocks], axis=1)


def test_resamples_are_the_same_whatever_the_size_of_a_block(monkeypatch):
    scores, target, pairs = draw(
        np.random.default_rng(1), speakers=3, size=1
    )  # often one kind of trial is not drawn
    trials = ScoredTrials(scores, target)
    whole = resampled_eers([trials], pairs, 50, seed=2)
    monkeypatch.setattr("spkdistill.metrics.bootstrap.BLOCK_WEIGHTS", 4 * len(pairs))
    np.testing.assert_array_equal(resampled_eers([trials], pairs, 50, seed=2), whole)
    assert whole.shape == (1, 50)
    assert np.isfinite(whole).all()


def test_intervals_hold_the_true_rate_as_often_as_they_say_and_intervals_of_single_trials_do_not():
    """True EER of `draw`: both kinds of score are normal, separated by 2.4."""
    separation = 1.2
    deviations = np.sqrt(1 + 1.0), np.sqrt(1 + 1.0)  # targets, non-targets: shared and own variance
    truth = ndtr(-2 * separation / sum(deviations))
    rng = np.random.default_rng(3)
    runs, held, held_single = 120, 0, 0
    for run in range(runs):
        scores, target, pairs = draw(rng, separation=separation)
        trials = ScoredTrials(scores, target)
        low, high = interval(resampled_eers([trials], pairs, 200, seed=run)[0], 0.9)
        held += low <= truth <= high
        single = np.arange(len(pairs))[:, None].repeat(2, axis=1)  # every trial a speaker of its own
        low, high = interval(resampled_eers([trials], single, 100, seed=run)[0], 0.9)
        held_single += low <= truth <= high
    assert 0.82 <= held / runs <= 0.97
    assert held_single < held


def test_paired_differences_are_narrower_than_the_systems_and_find_the_better_one():
    rng = np.random.default_rng(4)
    scores, target, pairs = draw(rng, speakers=30)
    better = ScoredTrials(scores + 0.8 * target, target)
    eers = resampled_eers([ScoredTrials(scores, target), better], pairs, 400, seed=5)
    assert np.std(eers[0] - eers[1]) < np.std(eers[0])
    assert two_sided_p(eers[0] - eers[1]) < 0.02
    same = resampled_eers([better, better], pairs, 100, seed=6)
    assert two_sided_p(same[0] - same[1]) == 1.0


def test_p_values_are_never_zero():
    assert two_sided_p(np.full(999, 0.1)) == 2 / 1000
