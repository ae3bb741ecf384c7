"""Score histograms: every trial in a bin, and a stray score does not squeeze the others."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spkdistill.metrics.histogram import BINS, histogram

LARGEST = float(np.finfo(np.float64).max)
FINITE = st.floats(allow_nan=False, allow_infinity=False)
CLOSE = FINITE.flatmap(  # at most 200 steps of rounding apart
    lambda x: st.lists(st.integers(0, 200).map(lambda n: x * (1 - n * 2.0**-53)), min_size=2, max_size=20)
)
SCORES = st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=100) | st.lists(FINITE, min_size=2) | CLOSE


@given(SCORES, st.data())
def test_every_trial_is_counted_once_in_bins_of_equal_width(scores, data):
    targets = data.draw(st.integers(1, len(scores) - 1))
    check(scores, targets)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    "scores",
    [
        *([0.0, 0.0], [1e17, 1e17], [1e300, 1e300, 1e300], [LARGEST, LARGEST], [-LARGEST, -LARGEST]),
        *([1.0, 1 + 2**-52], [-3e17, np.nextafter(-3e17, 0)], [1e15, 1e15 + 1, 1e15 + 2], [1e9, 1e9 + 1e-6]),
        *([-LARGEST, LARGEST], [-1e308, 1e308, 0.0], [0.0, 5e-324], [1e-300, 2e-300], [-1e-310, LARGEST]),
    ],
)
def test_scores_too_close_or_too_far_apart_for_a_difference_have_a_histogram(scores):
    check(scores, 1)


def check(scores, targets):
    """Counts, and edges that rise by equal steps but for their rounding."""
    found = histogram(np.array(scores), np.arange(len(scores)) < targets)
    edges = np.array(found["edges"])
    assert len(edges) == BINS + 1
    assert np.isfinite(edges).all()
    assert edges[0] <= min(scores)
    assert max(scores) <= edges[-1]
    assert (sum(found["targets"]), sum(found["nontargets"])) == (targets, len(scores) - targets)
    widths = np.diff(edges)
    assert (widths > 0).all()
    np.testing.assert_allclose(widths, widths[0], rtol=1e-9, atol=4 * 2.0**-52 * np.abs(edges).max())


def test_scores_that_are_all_equal_lie_in_the_middle_of_a_range_that_shows_it():
    edges = np.array(histogram(np.full(4, 2.0), np.array([True, False, True, False]))["edges"])
    assert (edges[0], edges[-1]) == (1.5, 2.5)


def test_stray_scores_are_counted_in_the_outer_bins_and_leave_the_edges_alone():
    rng = np.random.default_rng(0)
    scores, target = rng.normal(size=20_000), np.arange(20_000) < 50
    scores[target] += 6
    scores[-3:] = -1e9, 1e9, 1e9
    found = histogram(scores, target)
    assert -5 < found["edges"][0] < -2.5
    assert 7 < found["edges"][-1] < 10  # few targets, and yet none beyond
    assert found["nontargets"][-1] == 2
    inner = np.histogram(scores[~target], found["edges"])[0]
    assert found["nontargets"][1:-1] == inner[1:-1].tolist()
