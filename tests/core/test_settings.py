"""Settings reach a stage whole and of the right type, or the key is named."""

from dataclasses import dataclass

import pytest

from spkdistill.errors import ConfigError
from spkdistill.settings import build


@dataclass(frozen=True)
class Inner:
    width: int


@dataclass(frozen=True)
class Outer:
    rate: float
    inner: Inner
    clip: float | None
    span: tuple[float, float]
    on: bool


GOOD = {"rate": 1, "inner": {"width": 3}, "clip": None, "span": [1.0, 2.0], "on": True}


def test_nested_settings_are_built_and_numbers_widened():
    assert build(Outer, GOOD, "top") == Outer(1.0, Inner(3), None, (1.0, 2.0), True)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"ratte": 2}, r"top\.ratte: no such setting"),
        ({"inner": {}}, r"top\.inner\.width: this setting is missing"),
        ({"inner": {"width": "3"}}, r"top\.inner\.width: expected int, found '3'"),
        ({"inner": {"width": True}}, r"top\.inner\.width: expected int, found True"),
        ({"on": 1}, r"top\.on: expected bool, found 1"),
        ({"inner": 3}, r"top\.inner: expected a mapping"),
    ],
)
def test_a_wrong_setting_is_named_with_its_place(change, said):
    with pytest.raises(ConfigError, match=said):
        build(Outer, {**GOOD, **change}, "top")


def test_a_number_that_no_float_can_hold_is_named():
    with pytest.raises(ConfigError, match=r"top\.rate: a number beyond all measure"):
        build(Outer, GOOD | {"rate": 10**400}, "top")
