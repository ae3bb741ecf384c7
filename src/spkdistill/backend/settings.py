"""The settings of back-ends; the names are those of Kaldi's options where Kaldi has them."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf
from typing import Any

from spkdistill.errors import ConfigError
from spkdistill.settings import build

SCORE_NORMS = ("none", "z", "t", "s", "as")


@dataclass(frozen=True)
class CosineSettings:
    """The mean that is subtracted, if any: of the training set, or of an `adapt_set`."""

    kind: str
    subtract_mean: bool
    adapt_set: str | None


@dataclass(frozen=True)
class PldaSettings:
    """LDA to `lda_dim`, length normalisation and PLDA, adapted to the unlabelled `adapt_set` if any."""

    kind: str
    lda_dim: int
    total_covariance_factor: float
    em_iterations: int
    smoothing: float
    adapt_set: str | None
    mean_diff_scale: float
    within_covar_scale: float
    between_covar_scale: float

    def __post_init__(self) -> None:
        """Refuse what would give no model, or one of nonsense (ConfigError)."""
        limits = {"lda_dim": (1, inf), "em_iterations": (1, inf), "total_covariance_factor": (0, 1)}
        positive = ("smoothing", "mean_diff_scale", "within_covar_scale", "between_covar_scale")
        for name, (least, most) in (limits | dict.fromkeys(positive, (0, inf))).items():
            if not least <= (value := getattr(self, name)) <= most:
                raise ConfigError(f"backend.{name}: {value} is not allowed; expected {least} to {most}")


@dataclass(frozen=True)
class ScoreSettings:
    """What is done with vectors in PLDA's space, and with their scores."""

    normalize_length: bool
    simple_length_norm: bool
    score_norm: str  # one of SCORE_NORMS
    cohort_top: int  # cohort scores that count (as)

    def __post_init__(self) -> None:
        """Refuse an unknown normalisation, and one that keeps no spread of cohort scores (ConfigError)."""
        if self.score_norm not in SCORE_NORMS:
            raise ConfigError(
                f"backend.score_norm: expected one of {', '.join(SCORE_NORMS)}, found {self.score_norm!r}"
            )
        if self.cohort_top < 2:
            raise ConfigError(f"backend.cohort_top: {self.cohort_top} is not allowed; expected 2 or more")


def backend_settings(mapping: Mapping[str, Any]) -> CosineSettings | PldaSettings:
    """The settings of a back-end that is trained, by its `kind`."""
    kinds = {"cosine": CosineSettings, "plda": PldaSettings}
    kind = mapping.get("kind")
    if kind not in kinds:
        raise ConfigError(f"backend.kind: expected one of {', '.join(kinds)}, found {kind!r}")
    return build(kinds[kind], mapping, f"backend ({kind})")
