"""The densely connected TDNN (Yu and Li, Interspeech 2020)."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from spkdistill.errors import ConfigError
from spkdistill.models.layers import full_precision, padded_convolution, run_frame_layers
from spkdistill.models.pooling import statistics


@dataclass(frozen=True)
class DtdnnSettings:
    """Published: 128 channels, 64 more from each layer of the two blocks of 6 and 12, bottlenecks of 128."""

    channels: int
    growth: int
    bottleneck: int
    blocks: tuple[int, ...]
    embedding: int


class Dtdnn(nn.Module):
    """A convolution, two dense blocks each halved by a transit layer, statistics, an affine layer and its BN.

    No convolution and not the affine layer has a bias: so the published 2.8 M parameters are 2,822,272.
    Frame layers, our reading: the first convolution and the transit layers, which are narrow_bn and wide_bn.
    """

    DILATIONS = (1, 3)
    NARROW_BN, WIDE_BN = 1, 2
    receptive_field = 1

    def __init__(self, settings: DtdnnSettings, feature_dim: int) -> None:
        super().__init__()
        if len(settings.blocks) != len(self.DILATIONS):
            raise ConfigError(f"model.blocks: expected two numbers of layers, found {list(settings.blocks)}")
        self.feature_dim, self.embedding_dim = feature_dim, settings.embedding
        channels = settings.channels
        first = padded_convolution(feature_dim, channels, 5, bias=False)
        self.layer_dims = [channels]
        self.frames = nn.ModuleList([nn.Sequential(first, *normalised(channels))])
        for layers, dilation in zip(settings.blocks, self.DILATIONS, strict=True):
            block, channels = dense_block(
                DenseLayer, layers, channels, settings.growth, settings.bottleneck, dilation
            )
            self.frames.append(block)
            self.layer_dims.append(channels)
        self.output = nn.Linear(2 * channels, settings.embedding, bias=False)
        self.norm = nn.BatchNorm1d(settings.embedding, affine=False)

    def forward(self, features: Tensor) -> Tensor:
        """(batch, frames, feature_dim) -> (batch, embedding_dim) in float32."""
        return self.embed(self.frame_layers(features)[-1])

    def frame_layers(self, features: Tensor) -> list[Tensor]:
        """The first convolution and the transit layers, (batch, layer_dims[i], frames)."""
        return run_frame_layers(self.frames, features)

    def embed(self, last: Tensor) -> Tensor:
        """(batch, channels, frames) -> embedding, in float32 also under autocast."""
        with full_precision(last):
            return self.norm(self.output(statistics(last)))


class DenseLayer(nn.Module):
    """[x; f(x)] with f = BN-ReLU-affine to the bottleneck, then BN-ReLU-convolution over three frames."""

    def __init__(self, inputs: int, growth: int, bottleneck: int, dilation: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            *normalised(inputs),
            padded_convolution(inputs, bottleneck, bias=False),
            *normalised(bottleneck),
            padded_convolution(bottleneck, growth, 3, dilation, bias=False),
        )

    def forward(self, image: Tensor) -> Tensor:
        """(batch, inputs, 1, frames) -> (batch, inputs + growth, 1, frames)."""
        return torch.cat([image, self.layers(image)], dim=1)


def dense_block(
    layer: type[DenseLayer], layers: int, channels: int, growth: int, bottleneck: int, dilation: int
) -> tuple[nn.Sequential, int]:
    """Dense layers and the transit layer that halves their channels, and how many it leaves."""
    block = nn.Sequential()
    for _ in range(layers):
        block.append(layer(channels, growth, bottleneck, dilation))
        channels += growth
    transit = padded_convolution(channels, max(1, channels // 2), bias=False)
    return nn.Sequential(block, *normalised(channels), transit), transit.out_channels


def normalised(channels: int) -> tuple[nn.Module, nn.Module]:
    """BN-ReLU."""
    return nn.BatchNorm2d(channels), nn.ReLU(inplace=True)
