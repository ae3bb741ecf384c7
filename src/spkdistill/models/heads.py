"""Heads, for training only: over the speakers, softmax as in Kaldi and additive angular margin; over targets.

`head(embedding, labels)` gives the logits to train on, `head.plain(embedding)` those without a margin. Both
compute in float32 under autocast: bfloat16 logits carry 8 bits.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from spkdistill.errors import ConfigError
from spkdistill.models.layers import BATCH_NORM_EPSILON, full_precision

SINE_FLOOR = 1e-8  # keeps the slope of sqrt(1 - cos^2) finite at theta = 0 and pi


@dataclass(frozen=True)
class SoftmaxSettings:
    """`hidden` is the width of segment7."""

    hidden: int


@dataclass(frozen=True)
class AamSettings:
    """`scale` s and angular `margin` m in radians."""

    scale: float
    margin: float

    def __post_init__(self) -> None:
        """ConfigError for what gives no logits."""
        if not 0 < self.scale < math.inf:
            raise ConfigError(f"head.scale: expected a number above 0, found {self.scale}")
        if not 0 <= self.margin < math.inf:
            raise ConfigError(f"head.margin: expected radians from 0 on, found {self.margin}")


class SoftmaxHead(nn.Module):
    """The rest of Kaldi's x-vector network: ReLU-BN of segment6, segment7 affine-ReLU-BN, output affine."""

    def __init__(self, settings: SoftmaxSettings, embedding_dim: int, num_speakers: int) -> None:
        super().__init__()
        self.segment6_norm = nn.BatchNorm1d(embedding_dim, eps=BATCH_NORM_EPSILON, affine=False)
        self.segment7 = nn.Linear(embedding_dim, settings.hidden)
        self.segment7_norm = nn.BatchNorm1d(settings.hidden, eps=BATCH_NORM_EPSILON, affine=False)
        self.output = nn.Linear(settings.hidden, num_speakers)

    def forward(self, embedding: Tensor, labels: Tensor) -> Tensor:
        """(batch, embedding_dim) -> logits (batch, num_speakers); without a margin labels do not matter."""
        return self.plain(embedding)

    def plain(self, embedding: Tensor) -> Tensor:
        """(batch, embedding_dim) -> logits (batch, num_speakers)."""
        with full_precision(embedding):
            hidden = self.segment6_norm(embedding.relu())
            hidden = self.segment7_norm(self.segment7(hidden).relu())
            return self.output(hidden)


class AamHead(nn.Module):
    """Additive angular margin (arXiv 1801.07698): s cos(theta + m) for the label, else s cos(theta)."""

    def __init__(self, settings: AamSettings, embedding_dim: int, num_speakers: int) -> None:
        super().__init__()
        self.scale, self.margin = settings.scale, settings.margin
        self.weight = nn.Parameter(torch.empty(num_speakers, embedding_dim))
        nn.init.xavier_normal_(self.weight)

    def forward(self, embedding: Tensor, labels: Tensor) -> Tensor:
        """Embeddings (batch, embedding_dim) and class indices (batch) -> logits (batch, num_speakers)."""
        return self.scale * with_margin(self.cosine(embedding), labels, self.margin)

    def plain(self, embedding: Tensor) -> Tensor:
        """(batch, embedding_dim) -> s cos(theta), (batch, num_speakers)."""
        return self.scale * self.cosine(embedding)

    def cosine(self, embedding: Tensor) -> Tensor:
        """Cosines between embeddings and class weights, (batch, num_speakers)."""
        with full_precision(embedding):
            return functional.normalize(embedding) @ functional.normalize(self.weight).T


def with_margin(cosine: Tensor, labels: Tensor, margin: float) -> Tensor:
    """cos(theta) -> cos(theta + m) at the label, (batch, classes); labels (batch,).

    Past theta = pi - m, where cos(theta + m) turns up again, it is cos(theta) - m sin(m).
    """
    label = cosine.gather(1, labels.unsqueeze(1))
    sine = (1 - label.square()).clamp(min=SINE_FLOOR).sqrt()
    shifted = label * math.cos(margin) - sine * math.sin(margin)
    beyond = label - margin * math.sin(margin)
    shifted = torch.where(label > math.cos(math.pi - margin), shifted, beyond)
    return cosine.scatter(1, labels.unsqueeze(1), shifted)


class TargetHeads(nn.ModuleList):
    """A linear layer for each target that a shared embedding is trained to foretell."""

    def __init__(self, embedding_dim: int, sizes: Iterable[int]) -> None:
        super().__init__(nn.Linear(embedding_dim, size) for size in sizes)

    def forward(self, embedding: Tensor) -> list[Tensor]:
        """(batch, embedding_dim) -> (batch, size) of each target, in float32 also under autocast."""
        with torch.autocast(embedding.device.type, enabled=False):
            return [head(embedding) for head in self]
