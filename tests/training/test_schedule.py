"""The learning rate rises linearly, falls exponentially, and ends where the settings say."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spkdistill.training.schedule import learning_rate


def test_the_rate_rises_linearly_then_falls_by_a_constant_factor():
    rates = [learning_rate(step, 14, 4, 1.0, 0.001) for step in range(14)]
    assert rates[:4] == pytest.approx([0.25, 0.5, 0.75, 1.0])
    falls = [after / before for before, after in pairwise(rates[3:])]
    assert falls == pytest.approx([10**-0.3] * 10)
    assert rates[-1] == pytest.approx(0.001)


@given(st.integers(1, 500), st.integers(0, 50))
def test_every_step_has_a_rate_within_bounds(steps, warmup):
    rates = [learning_rate(step, steps, warmup, 0.1, 1e-4) for step in range(steps)]
    assert min(rates) > 0
    assert max(rates) <= 0.1 * (1 + 1e-12)
    if steps > max(warmup, 1):
        assert rates[-1] == pytest.approx(1e-4)


def test_without_warm_up_the_first_step_has_the_peak():
    assert learning_rate(0, 10, 0, 0.1, 0.001) == pytest.approx(0.1)
    assert learning_rate(0, 1, 0, 0.1, 0.001) == 0.1
