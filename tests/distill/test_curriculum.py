"""The curriculum is the table of the paper's schedule, and does not depend on the number of epochs."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spkdistill.distill.curriculum import TauSettings, tau_at, tau_settings
from spkdistill.errors import ConfigError

PAPER = TauSettings(1.0, 0.05, None, None, begin=10 / 150, until=60 / 150, unit="training", gamma=0.001)
CONFIG = {"start": 1.0, "end": 0.05, "from": 0.1, "to": 0.4, "unit": "training", "gamma": 0.001}


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
    step = replace(PAPER, begin=0.5, until=0.5, gamma=1e-9)
    assert tau_at(0.49, step) == 1.0
    assert tau_at(0.5, step) == pytest.approx(0.05)


def test_the_config_says_from_and_to():
    assert TauSettings(**tau_settings(CONFIG)) == replace(PAPER, begin=0.1, until=0.4)


def test_a_number_is_a_tau_that_stays():
    fixed = TauSettings(**tau_settings(0.3))
    assert {tau_at(place, fixed) for place in (0, 0.2, 1)} == {0.3}


def test_an_end_may_be_a_number_of_classes_or_a_share():
    of_classes = TauSettings(**tau_settings({**CONFIG, "end": {"classes": 40}}))
    assert (of_classes.end, of_classes.classes, of_classes.share) == (None, 40, None)
    of_share = TauSettings(**tau_settings({**CONFIG, "end": {"share": 0.01}}))
    assert (of_share.end, of_share.classes, of_share.share) == (None, None, 0.01)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"from": 0.5}, "to: 0.4 comes before from: 0.5"),
        ({"from": 10, "to": 60}, "to: 60 is a share of the training; for epochs add"),
        ({"start": 0.01}, "end: 0.05 is above start: 0.01"),
        ({"unit": "steps"}, "unit: expected training or epochs"),
    ],
)
def test_a_curriculum_that_makes_no_sense_is_refused(change, message):
    with pytest.raises(ConfigError, match=message):
        TauSettings(**tau_settings({**CONFIG, **change}))
