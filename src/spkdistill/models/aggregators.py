"""Aggregated teacher embeddings: several frame-level layers pooled together, then an affine layer.

The targets `sp_aggr` and `lde_aggr` of arXiv 2303.01125 as we read them; H_t = [h1_t; ...; hL_t], the frame
layers of a frozen teacher.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor, nn

from spkdistill.models.layers import full_precision
from spkdistill.models.pooling import DictionaryEncoding, statistics


@dataclass(frozen=True)
class AggregatorSettings:
    """`embedding` is the size of both outputs, `components` the size of LDE's dictionary."""

    embedding: int
    components: int


class SpAggregator(nn.Module):
    """W [mean(H); std(H)] + b."""

    def __init__(self, settings: AggregatorSettings, layer_dims: list[int]) -> None:
        super().__init__()
        self.output = nn.Linear(2 * sum(layer_dims), settings.embedding)

    def forward(self, layers: list[Tensor]) -> Tensor:
        """A teacher's frame layers, (batch, layer_dims[i], frames_i) -> (batch, embedding_dim)."""
        with full_precision(layers[0]):
            pooled = [statistics(layer).chunk(2, dim=1) for layer in aligned(layers)]
            means, deviations = zip(*pooled, strict=True)
            return self.output(torch.cat([*means, *deviations], dim=1))


class LdeAggregator(nn.Module):
    """W LDE(H) + b; with 32 components 58 million parameters at the x-vector's full width."""

    def __init__(self, settings: AggregatorSettings, layer_dims: list[int]) -> None:
        super().__init__()
        self.pooling = DictionaryEncoding(layer_dims, settings.components)
        self.output = nn.Linear(settings.components * sum(layer_dims), settings.embedding)

    def forward(self, layers: list[Tensor]) -> Tensor:
        """A teacher's frame layers, (batch, layer_dims[i], frames_i) -> (batch, embedding_dim)."""
        with full_precision(layers[0]):
            return self.output(self.pooling([layer.float() for layer in aligned(layers)]))

    def initialise(self, layers: list[Tensor]) -> None:
        """Start the dictionary at the k-means centres of one batch; call once, before training."""
        self.pooling.initialise([layer.float() for layer in aligned(layers)])


Layer = TypeVar("Layer")
AGGREGATORS = {"sp_aggr": SpAggregator, "lde_aggr": LdeAggregator}


def build_aggregators(settings: AggregatorSettings, layer_dims: list[int]) -> nn.ModuleDict:
    """One aggregator for each target of that kind, by the target's name."""
    return nn.ModuleDict({name: kind(settings, layer_dims) for name, kind in AGGREGATORS.items()})


def aggregated(model: nn.Module, layers: Sequence[Layer]) -> list[Layer]:
    """Of one entry for each frame layer of a teacher those that its AGGREGATED names; without it, all."""
    return [layers[index] for index in getattr(model, "AGGREGATED", range(len(layers)))]


def aligned(layers: list[Tensor]) -> list[Tensor]:
    """Layers cut to the frames of the last; valid convolutions took as many from each end.

    Networks with strides bring their frame layers to the last one's frames themselves.
    """
    frames = layers[-1].shape[2]
    return [layer.narrow(2, (layer.shape[2] - frames) // 2, frames) for layer in layers]
