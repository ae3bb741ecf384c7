"""The `metrics` of a config; without numpy, which checking a config does not need."""

from dataclasses import dataclass
from itertools import pairwise

from spkdistill.errors import ConfigError


@dataclass(frozen=True)
class MetricsSettings:
    """Resamples, the share of them inside an interval, target priors of DCF, conditions to measure alone."""

    bootstrap_samples: int
    paired_samples: int  # of paired tests: a p-value is 2 / (samples + 1) at least, before Holm multiplies it
    confidence: float
    p_targets: tuple[float, ...]
    conditions: tuple[str, ...]  # sex, duration, or columns of the trials
    duration_edges: tuple[float, ...]  # seconds, ascending

    def __post_init__(self) -> None:
        if min(self.bootstrap_samples, self.paired_samples) < 1 or not 0 < self.confidence < 1:
            raise ConfigError("metrics: samples are 1 or more, and confidence lies between 0 and 1")
        if not all(isinstance(p, int | float) and 0 < p < 1 for p in self.p_targets):
            raise ConfigError(f"metrics.p_targets: priors lie between 0 and 1, found {self.p_targets}")
        if not self.p_targets or len(set(self.prior_names)) < len(self.p_targets):
            raise ConfigError(
                "metrics.p_targets: give one prior or more, no two of them equal in their first 6 digits, "
                f"found {self.p_targets}"
            )
        edges = self.duration_edges
        if not all(isinstance(edge, int | float) and edge > 0 for edge in edges) or any(
            low >= high for low, high in pairwise(edges)
        ):
            raise ConfigError(f"metrics.duration_edges: seconds above 0, ascending, found {edges}")

    @property
    def prior_names(self) -> list[str]:
        """The target priors as the results name them."""
        return [f"{p:g}" for p in self.p_targets]
