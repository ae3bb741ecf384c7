"""The curriculum on tau, TRKD's cumulative cutoff: all non-targets at first, then the most confusable.

Without torch: a config is checked against these settings before any job.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from spkdistill.errors import ConfigError

ENDS = ("classes", "share")  # what may be said instead of the last tau


@dataclass(frozen=True)
class TauSettings:
    """tau falls from `start` to its end between `begin` and `until`.

    The end is `end`, or such that half of the views have a confusion set of `classes` non-targets or fewer,
    or of `share` (0 to 1) of them: until the teacher's logits give it (`ending_at`), `end` is None.
    """

    start: float
    end: float | None
    classes: int | None
    share: float | None
    begin: float
    until: float
    unit: str  # of `begin` and `until`: "training" (0 to 1 of it) or "epochs"
    gamma: float  # curvature; 0.001 in the paper

    def __post_init__(self) -> None:
        """Refuse a curriculum that runs backwards; the message lacks the place in the config."""
        if self.unit not in ("training", "epochs"):
            raise ConfigError(f"unit: expected training or epochs, found {self.unit!r}")
        if self.begin > self.until:
            raise ConfigError(f"to: {self.until:g} comes before from: {self.begin:g}; exchange them")
        if self.unit == "training" and self.until > 1:
            raise ConfigError(f"to: {self.until:g} is a share of the training; for epochs add `unit: epochs`")
        if self.unit == "epochs" and (0 < self.begin < 1 or self.until < 1):
            raise ConfigError(
                f"from {self.begin:g} to {self.until:g} are shares of the training; give both in epochs"
            )
        if self.end is not None and self.end > self.start:
            raise ConfigError(f"end: {self.end:g} is above start: {self.start:g}; tau falls")


def tau_at(place: float, settings: TauSettings) -> float:
    """tau after `place` (in the unit of the settings) of the training.

    tau = start + (end - start) (1 - gamma^u) with u = clip((place - begin) / (until - begin), 0, 1): our
    reading of the "exponential" schedule of arXiv 2601.14699, in shares so that a short run has it too.
    """
    if place < settings.begin:
        return settings.start
    span = settings.until - settings.begin
    share = (place - settings.begin) / span if place < settings.until else 1.0
    return settings.start + (settings.end - settings.start) * (1 - settings.gamma**share)


def ending_at(last: float, settings: TauSettings) -> TauSettings:
    """The curriculum whose tau is `last` after it fell: gamma (start - end) above its `end`."""
    last = min(last, settings.start)
    return replace(settings, end=settings.start + (last - settings.start) / (1 - settings.gamma))


def tau_settings(tau: float | Mapping[str, Any]) -> dict[str, Any]:
    """A config's `tau` with the names of the fields; a number is a tau that does not change."""
    if not isinstance(tau, Mapping):
        tau = {"start": tau, "end": tau, "from": 0, "to": 0, "unit": "training", "gamma": 0.001}
    names = {"from": "begin", "to": "until"}  # `from` cannot name a field in Python
    fields = {names.get(key, key): value for key, value in tau.items()} | dict.fromkeys(ENDS)
    end = fields.get("end")
    return fields | {"end": None} | dict(end) if isinstance(end, Mapping) else fields
