"""EER, minDCF and DET curves against plain loops over small sets of scores with ties."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from spkdistill.errors import DataError
from spkdistill.metrics.cllr import min_cllr
from spkdistill.metrics.counts import ScoredTrials
from spkdistill.metrics.dcf import min_dcf, min_dcf_threshold
from spkdistill.metrics.det import det_curve
from spkdistill.metrics.eer import eer, eer_hull, eer_threshold

# Few distinct values, so that scores tie within and across the classes.
TIED = st.lists(st.tuples(st.integers(0, 6), st.booleans()), min_size=2, max_size=25)


def arrays(rows):
    scores, target = np.array([row[0] for row in rows], dtype=float), np.array([row[1] for row in rows])
    assume(target.any() and not target.all())
    return scores, target


def compute_eer(targets, nontargets):
    """The loop of Kaldi's compute-eer.cc: EER and threshold."""
    targets, nontargets = sorted(targets), sorted(nontargets)
    position = 0
    while position + 1 < len(targets):
        other = max(0, len(nontargets) - 1 - int(len(nontargets) * position * 1.0 / len(targets)))
        if nontargets[other] < targets[position]:
            break
        position += 1
    return position / len(targets), targets[position]


def operating_points(scores, target):
    """(P_fa, P_miss) of every rule "accept what scores more than t"."""
    thresholds = [-np.inf, *scores]
    return [((scores[~target] > t).mean(), (scores[target] <= t).mean()) for t in thresholds]


@settings(max_examples=150, deadline=None)
@given(TIED)
def test_eer_and_its_threshold_are_what_compute_eer_finds(rows):
    scores, target = arrays(rows)
    trials = ScoredTrials(scores, target)
    expected, threshold = compute_eer(scores[target], scores[~target])
    assert eer(trials.count()) == expected
    assert eer_threshold(trials) == threshold


@settings(max_examples=150, deadline=None)
@given(TIED, st.sampled_from([0.001, 0.01, 0.05, 0.3, 0.5, 0.9]))
def test_min_dcf_is_the_least_cost_of_all_thresholds(rows, p_target):
    scores, target = arrays(rows)
    costs = [(p_miss * p_target + p_fa * (1 - p_target)) for p_fa, p_miss in operating_points(scores, target)]
    trials = ScoredTrials(scores, target)
    cost = min_dcf(trials.count(), p_target)
    assert cost == pytest.approx(min(costs) / min(p_target, 1 - p_target), abs=1e-12)
    threshold = min_dcf_threshold(trials, p_target)
    p_miss, p_fa = (scores[target] <= threshold).mean(), (scores[~target] > threshold).mean()
    assert p_miss * p_target + p_fa * (1 - p_target) == pytest.approx(min(costs), abs=1e-12)


@settings(max_examples=150, deadline=None)
@given(TIED)
def test_hull_eer_is_the_least_that_mixing_two_rules_can_reach(rows):
    """Segments between operating points cross P_fa = P_miss; the hull has the lowest crossing."""
    scores, target = arrays(rows)
    points = operating_points(scores, target)
    crossings = [x for x, y in points if x == y]
    for x0, y0 in points:
        for x1, y1 in points:
            if y0 > x0 and y1 < x1:
                share = (y0 - x0) / ((y0 - x0) + (x1 - y1))
                crossings.append(x0 + share * (x1 - x0))
    assert eer_hull(ScoredTrials(scores, target)) == pytest.approx(min(crossings), abs=1e-12)


@settings(max_examples=100, deadline=None)
@given(TIED, st.randoms(use_true_random=False))
def test_the_order_of_the_trials_does_not_matter(rows, random):
    scores, target = arrays(rows)
    order = list(range(len(rows)))
    random.shuffle(order)
    first, second = ScoredTrials(scores, target), ScoredTrials(scores[order], target[order])
    assert eer(first.count()) == eer(second.count())
    assert eer_hull(first) == eer_hull(second)
    assert min_cllr(first) == min_cllr(second)
    assert min_dcf(first.count(), 0.01) == min_dcf(second.count(), 0.01)


@settings(max_examples=100, deadline=None)
@given(TIED)
def test_det_points_are_operating_points_from_accept_all_to_reject_all(rows):
    scores, target = arrays(rows)
    p_miss, p_fa = det_curve(ScoredTrials(scores, target).count())
    points = np.array(operating_points(scores, target))
    found = np.array([p_fa, p_miss]).T
    assert np.abs(found[:, None] - points).max(axis=2).min(axis=1).max() < 1e-12
    assert tuple(found[0]) == (1, 0)
    assert tuple(found[-1]) == (0, 1)
    assert (np.diff(p_miss) >= 0).all()
    assert (np.diff(p_fa) <= 0).all()


def test_a_long_det_curve_is_thinned_and_still_close():
    rng = np.random.default_rng(0)
    target = rng.random(50_000) < 0.2
    counts = ScoredTrials(rng.normal(size=50_000) + 2 * target, target).count()
    p_miss, p_fa = det_curve(counts)
    assert 100 < len(p_miss) <= 200
    exact = np.interp(counts.p_miss, p_miss, p_fa)
    middle = (counts.p_fa > 1e-3) & (counts.p_miss > 1e-2)
    assert np.abs(np.log(exact[middle] / counts.p_fa[middle])).max() < 0.1


def test_perfect_and_worthless_scores():
    target = np.array([True] * 4 + [False] * 4)
    perfect = ScoredTrials(np.array([5.0, 6, 7, 8, 1, 2, 3, 4]), target)
    assert (eer(perfect.count()), eer_hull(perfect), min_dcf(perfect.count(), 0.01)) == (0, 0, 0)
    assert min_cllr(perfect) == 0
    equal = ScoredTrials(np.zeros(8), target)
    assert (eer_hull(equal), min_dcf(equal.count(), 0.01), min_cllr(equal)) == (0.5, 1, 1)


@pytest.mark.parametrize("target", [True, False])
def test_trials_of_one_kind_have_no_error_rates(target):
    with pytest.raises(DataError, match=r"no scored (non-)?target trial"):
        ScoredTrials(np.arange(3.0), np.full(3, target))
