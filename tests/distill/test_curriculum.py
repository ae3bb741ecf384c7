"""The curriculum is the table of the paper's schedule, and does not depend on the number of epochs."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spkdistill.distill.curriculum import TauSettings, tau_at, tau_keys

PAPER = TauSettings(start=1.0, end=0.05, begin=10 / 150, until=60 / 150, gamma=0.001)


@pytest.mark.parametrize(
    ("epoch", "tau"),
    [
        (0, 1),
        (10, 1),
        (15, 0.526),
        (20, 0.289),
        (25, 0.170),
        (30, 0.110),
        (40, 0.065),
        (60, 0.051),
        (150, 0.051),
    ],
)
def test_tau_falls_as_in_the_paper(epoch, tau):
    assert tau_at(epoch / 150, PAPER) == pytest.approx(tau, abs=6e-4)


@given(st.floats(0, 1), st.floats(0, 1))
def test_tau_never_rises_and_stays_between_its_ends(first, second):
    earlier, later = sorted([first, second])
    assert 1.0 >= tau_at(earlier, PAPER) >= tau_at(later, PAPER) >= 0.05


def test_an_interval_of_no_length_is_a_step():
    step = TauSettings(start=1.0, end=0.05, begin=0.5, until=0.5, gamma=1e-9)
    assert tau_at(0.49, step) == 1.0
    assert tau_at(0.5, step) == pytest.approx(0.05)


def test_the_config_says_from_and_to():
    keys = tau_keys({"start": 1.0, "end": 0.05, "from": 0.1, "to": 0.4, "gamma": 0.001})
    assert TauSettings(**keys) == TauSettings(1.0, 0.05, 0.1, 0.4, 0.001)
