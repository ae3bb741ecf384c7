"""The `training` of a config; without torch, which neither checking nor starting processes needs."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from spkdistill.errors import ConfigError

LEAST = {"epochs": 1, "batch_size": 2, "threads": 1, "processes": 1}
LEAST |= {"warmup_epochs": 0, "momentum": 0, "weight_decay": 0}
POSITIVE = ("learning_rate", "final_learning_rate", "checkpoint_minutes", "gradient_clip")
CHOICES = {"optimizer": ("sgd", "adamw"), "precision": ("auto", "float32", "bfloat16")}
VIEWS_OF_A_PROCESS = 2  # in a step, at least


@dataclass(frozen=True)
class SpecAugmentSettings:
    """Zeroed bands of a crop (arXiv 1904.08779); widths are uniform from 0 to the largest."""

    time_masks: int
    time_width: int  # frames
    frequency_masks: int
    frequency_width: int  # coefficients

    def __post_init__(self) -> None:
        """Refuse negative numbers (ConfigError)."""
        for field in fields(self):
            check_least(f"spec_augment.{field.name}", getattr(self, field.name), 0)


@dataclass(frozen=True)
class TrainingSettings:
    """How a model is trained."""

    epochs: int
    batch_size: int
    optimizer: str  # "sgd" or "adamw"
    learning_rate: float
    final_learning_rate: float
    warmup_epochs: float
    momentum: float  # of sgd
    weight_decay: float
    precision: str  # "float32", "bfloat16", or "auto": bfloat16 where the hardware has it
    threads: int  # of each process
    processes: int
    spec_augment: SpecAugmentSettings | None
    gradient_clip: float | None  # largest norm
    checkpoint_minutes: float

    def __post_init__(self) -> None:
        """Refuse what cannot train (ConfigError)."""
        for name, least in LEAST.items():
            check_least(name, getattr(self, name), least)
        for name in POSITIVE:
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise ConfigError(f"training.{name}: expected more than 0, found {value}")
        for name, known in CHOICES.items():
            if getattr(self, name) not in known:
                raise ConfigError(
                    f"training.{name}: expected {' or '.join(known)}, found {getattr(self, name)!r}"
                )
        check_shares(self.batch_size, self.processes, "training.batch_size")


def check_least(name: str, value: float, least: float) -> None:
    """ConfigError unless a setting is finite and not below `least`."""
    if not least <= value < math.inf:
        raise ConfigError(f"training.{name}: expected {least} or more, found {value}")


def check_shares(views: int, processes: int, where: str) -> None:
    """ConfigError where a step's views are too few to be shared among processes."""
    needed = VIEWS_OF_A_PROCESS * processes
    if processes > 1 and views < needed:
        raise ConfigError(
            f"{where}: {views} views in a step are too few for training.processes {processes}; "
            f"{needed} are needed"
        )


def decisive(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of what is trained, without those of its training that do not change the result."""
    training = {key: value for key, value in settings["training"].items() if key != "checkpoint_minutes"}
    return {**settings, "training": training}
