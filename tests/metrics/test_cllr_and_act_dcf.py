"""Cllr, min Cllr and actDCF against plain loops over small sets of scores with ties."""

import math
from itertools import combinations, pairwise

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from spkdistill.metrics.bootstrap import GroupedTrials
from spkdistill.metrics.cllr import losses, min_cllr
from spkdistill.metrics.counts import ScoredTrials
from spkdistill.metrics.dcf import act_dcf, bayes_threshold, min_dcf

TIED = st.lists(st.tuples(st.integers(-3, 3), st.booleans()), min_size=2, max_size=25)
LEVELS = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=6)  # of both kinds
PRIORS = [0.001, 0.01, 0.05, 0.3, 0.5, 0.9]


def arrays(rows):
    scores, target = np.array([row[0] for row in rows], dtype=float), np.array([row[1] for row in rows])
    assume(target.any() and not target.all())
    return scores, target


def cllr(scores, target):
    """Cllr of trials that all count once."""
    alone = np.arange(len(scores))[:, None].repeat(2, axis=1)
    grouped = GroupedTrials(scores, target, alone, ScoredTrials(scores, target).thresholds)
    return grouped.weigh(np.ones(len(scores) + 1, dtype=np.int32)).cllr()


def cllr_by_hand(targets, nontargets):
    of_targets = sum(math.log2(1 + math.exp(-s)) for s in targets) / len(targets)
    return (of_targets + sum(math.log2(1 + math.exp(s)) for s in nontargets) / len(nontargets)) / 2


@settings(max_examples=100, deadline=None)
@given(TIED)
def test_cllr_is_the_mean_of_the_losses_and_min_cllr_no_higher(rows):
    scores, target = arrays(rows)
    expected = cllr_by_hand(scores[target].tolist(), scores[~target].tolist())
    assert cllr(scores, target) == pytest.approx(expected, rel=1e-12)
    assert min_cllr(ScoredTrials(scores, target)) <= min(1, expected) + 1e-12


@settings(max_examples=200, deadline=None)
@given(LEVELS)
def test_min_cllr_is_the_least_of_every_monotonic_map_of_the_scores(levels):
    """Every way to cut the ascending scores into runs with one ratio each, that of their trials."""
    scores, target = arrays(
        [(s, kind == 0) for s, row in enumerate(levels) for kind in (0, 1) for _ in range(row[kind])]
    )
    values = sorted(set(scores.tolist()))
    prior, costs = target.sum() / (~target).sum(), []
    for cuts in range(len(values)):
        for chosen in combinations(range(1, len(values)), cuts):
            bounds = [0, *chosen, len(values)]
            runs = [values[a:b] for a, b in pairwise(bounds)]
            counts = [(np.isin(scores[target], r).sum(), np.isin(scores[~target], r).sum()) for r in runs]
            ratios = [t / n / prior if n else math.inf for t, n in counts]
            if ratios == sorted(ratios):
                of_targets = sum(
                    t * math.log2(1 + 1 / r) for (t, _), r in zip(counts, ratios, strict=True) if t
                )
                of_nontargets = sum(
                    n * math.log2(1 + r) for (_, n), r in zip(counts, ratios, strict=True) if n
                )
                costs.append((of_targets / target.sum() + of_nontargets / (~target).sum()) / 2)
    assert min_cllr(ScoredTrials(scores, target)) == pytest.approx(min(costs), abs=1e-12)


@settings(max_examples=100, deadline=None)
@given(TIED, st.sampled_from(PRIORS), st.booleans())
def test_act_dcf_is_the_cost_of_accepting_from_the_bayes_threshold_on(rows, p_target, tie):
    scores, target = arrays(rows)
    threshold = math.log((1 - p_target) / p_target)
    if tie:  # some scores lie on the threshold, and are accepted
        scores = scores + threshold
    trials = ScoredTrials(scores, target, [bayes_threshold(p_target)])
    index = int(np.searchsorted(trials.thresholds, bayes_threshold(p_target)))
    p_miss = np.mean([not s >= threshold for s in scores[target]])
    p_fa = np.mean([s >= threshold for s in scores[~target]])
    cost = (p_target * p_miss + (1 - p_target) * p_fa) / min(p_target, 1 - p_target)
    assert act_dcf(trials.count(), p_target, index) == pytest.approx(cost, abs=1e-12)
    assert min_dcf(trials.count(), p_target) <= cost + 1e-12
    assert min_dcf(trials.count(), p_target) == min_dcf(ScoredTrials(scores, target).count(), p_target)


def test_scores_of_any_size_have_finite_losses():
    assert losses(np.array([-2000.0, 0, 2000]), True) == pytest.approx([2000 / math.log(2), 1, 0])
    assert losses(np.array([-2000.0, 0, 2000]), False) == pytest.approx([0, 1, 2000 / math.log(2)])


def test_ratios_that_are_true_have_a_cllr_near_their_min_cllr_and_shifted_ones_do_not():
    """Normal scores with means +- s²/2 and variance s² are their own log likelihood ratios."""
    rng = np.random.default_rng(0)
    target = rng.random(40_000) < 0.3
    scores = rng.normal(np.where(target, 2, -2), 2)
    least = min_cllr(ScoredTrials(scores, target))
    assert least == pytest.approx(cllr(scores, target), abs=0.005)
    assert min_cllr(ScoredTrials(scores + 3, target)) == least
    assert cllr(scores + 3, target) > least + 0.2
