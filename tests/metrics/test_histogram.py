"""Score histograms: every trial in a bin, and a stray score does not squeeze the others."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from spkdistill.metrics.histogram import BINS, histogram

SCORES = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=60)


@given(SCORES, SCORES)
def test_every_trial_is_counted_once_in_bins_of_equal_width(targets, nontargets):
    target = np.arange(len(targets) + len(nontargets)) < len(targets)
    found = histogram(np.array([*targets, *nontargets]), target)
    assert len(found["edges"]) == BINS + 1
    assert (sum(found["targets"]), sum(found["nontargets"])) == (len(targets), len(nontargets))
    widths = np.diff(found["edges"])
    assert (widths > 0).all()
    np.testing.assert_allclose(widths, widths[0], rtol=1e-6, atol=1e-9)


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
