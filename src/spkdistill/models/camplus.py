"""CAM++ (Wang et al., arXiv 2303.00332): a D-TDNN whose layers are masked by their context."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from spkdistill.errors import ConfigError
from spkdistill.models.dtdnn import DenseLayer, dense_block, normalised
from spkdistill.models.layers import full_precision
from spkdistill.models.maps import convolution, flattened
from spkdistill.models.pooling import statistics
from spkdistill.models.resnet import Residual, basic


@dataclass(frozen=True)
class CamplusSettings:
    """Published: 32 channels of the maps, 128 of the TDNN, growth 32, bottlenecks of 128, blocks 12 24 16."""

    map_channels: int
    channels: int
    growth: int
    bottleneck: int
    blocks: tuple[int, ...]
    embedding: int


class Camplus(nn.Module):
    """2-D convolutions, a strided convolution, three dense blocks each halved, statistics, affine, BN.

    The 2-D convolutions leave an eighth of the frequencies, the convolution after them half of the frames.
    Frame layers, our reading: that convolution and the transit layers, the last with the BN-ReLU after it;
    the last two are narrow_bn and wide_bn.
    """

    DILATIONS = (1, 2, 2)
    NARROW_BN, WIDE_BN = 2, 3
    receptive_field = 1

    def __init__(self, settings: CamplusSettings, feature_dim: int) -> None:
        super().__init__()
        if len(settings.blocks) != len(self.DILATIONS):
            raise ConfigError(
                f"model.blocks: expected three numbers of layers, found {list(settings.blocks)}"
            )
        self.feature_dim, self.embedding_dim = feature_dim, settings.embedding
        self.maps = convolutional_module(settings.map_channels)
        channels, rows = settings.channels, -(-feature_dim // 8)
        first = nn.Conv2d(settings.map_channels * rows, channels, (1, 5), (1, 2), (0, 2), bias=False)
        self.layer_dims = [channels]
        self.frames = nn.ModuleList([nn.Sequential(first, *normalised(channels))])
        for layers, dilation in zip(settings.blocks, self.DILATIONS, strict=True):
            block, channels = dense_block(
                MaskedDenseLayer, layers, channels, settings.growth, settings.bottleneck, dilation
            )
            self.frames.append(block)
            self.layer_dims.append(channels)
        self.frames[-1].extend(normalised(channels))
        self.output = nn.Linear(2 * channels, settings.embedding, bias=False)
        self.norm = nn.BatchNorm1d(settings.embedding, affine=False)

    def forward(self, features: Tensor) -> Tensor:
        """(batch, frames, feature_dim) -> (batch, embedding_dim) in float32."""
        return self.embed(self.frame_layers(features)[-1])

    def frame_layers(self, features: Tensor) -> list[Tensor]:
        """The first convolution of the TDNN and the transit layers, (batch, layer_dims[i], frames / 2)."""
        image = flattened(self.maps(features.unsqueeze(3).permute(0, 3, 1, 2))).unsqueeze(2)
        outputs = []
        for layer in self.frames:
            image = layer(image)
            outputs.append(image.squeeze(2))
        return outputs

    def embed(self, last: Tensor) -> Tensor:
        """(batch, channels, frames) -> embedding, in float32 also under autocast."""
        with full_precision(last):
            return self.norm(self.output(statistics(last)))


class MaskedDenseLayer(DenseLayer):
    """[x; f(h) m(h)]: a dense layer whose last convolution f is masked by the context of its input h."""

    def __init__(self, inputs: int, growth: int, bottleneck: int, dilation: int) -> None:
        super().__init__(inputs, growth, bottleneck, dilation)
        self.mask = ContextMask(bottleneck, growth)

    def forward(self, image: Tensor) -> Tensor:
        """(batch, inputs, 1, frames) -> (batch, inputs + growth, 1, frames)."""
        hidden = self.layers[:-1](image)
        return torch.cat([image, self.layers[-1](hidden) * self.mask(hidden)], dim=1)


class ContextMask(nn.Module):
    """sigmoid(W_2 ReLU(W_1 (e_g + e_s) + b_1) + b_2), e_g the mean of all frames, e_s that of the segment."""

    SEGMENT = 100  # frames of half the rate, so two seconds
    REDUCTION = 2

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        hidden = max(1, inputs // self.REDUCTION)
        self.mask = nn.Sequential(
            nn.Conv2d(inputs, hidden, 1), nn.ReLU(inplace=True), nn.Conv2d(hidden, outputs, 1), nn.Sigmoid()
        )

    def forward(self, image: Tensor) -> Tensor:
        """(batch, inputs, 1, frames) -> (batch, outputs, 1, frames), constant within a segment."""
        segments = functional.avg_pool2d(image, (1, self.SEGMENT), ceil_mode=True)
        mask = self.mask(segments + image.mean(3, keepdim=True))
        return mask.unsqueeze(4).expand(-1, -1, -1, -1, self.SEGMENT).flatten(3)[:, :, :, : image.shape[3]]


def convolutional_module(channels: int) -> nn.Sequential:
    """A stem, two pairs of residual blocks and a convolution; the last three each halve the frequency."""
    layers = nn.Sequential(*convolution(1, channels, 3), nn.ReLU(inplace=True))
    for stride in ((1, 2), (1, 1)) * 2:
        layers.append(Residual(basic(channels, channels, stride), channels, channels, stride))
    return layers.extend([*convolution(channels, channels, 3, (1, 2)), nn.ReLU(inplace=True)])
