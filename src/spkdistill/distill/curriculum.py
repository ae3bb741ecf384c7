"""The curriculum on tau, TRKD's cumulative cutoff: all non-targets at first, then the most confusable."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class TauSettings:
    """tau falls from `start` to `end` between the fractions of training `begin` and `until` (0 to 1)."""

    start: float
    end: float
    begin: float
    until: float
    gamma: float  # curvature; 0.001 in the paper


def tau_at(fraction: float, settings: TauSettings) -> float:
    """tau after `fraction` (0 to 1) of all training steps.

    tau = start + (end - start) (1 - gamma^u) with u = clip((fraction - begin) / (until - begin), 0, 1): our
    reading of the "exponential" schedule of arXiv 2601.14699, in fractions so that a short run has it too.
    """
    if fraction < settings.begin:
        return settings.start
    if fraction >= settings.until:
        share = 1.0
    else:
        share = (fraction - settings.begin) / (settings.until - settings.begin)
    return settings.start + (settings.end - settings.start) * (1 - settings.gamma**share)


def tau_keys(mapping: Mapping[str, Any]) -> dict[str, Any]:
    """A config's `tau` with the names of the fields: `from` and `to` become `begin` and `until`."""
    names = {"from": "begin", "to": "until"}  # `from` cannot name a field in Python
    return {names.get(key, key): value for key, value in mapping.items()}
