"""ECAPA-TDNN (Desplanques, Thienpondt and Demuynck, arXiv 2005.07143)."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from spkdistill.models.layers import as_image, full_precision, padded_convolution
from spkdistill.models.pooling import AttentiveStatistics


@dataclass(frozen=True)
class EcapaSettings:
    """Published: 512 or 1024 channels in 8 groups, 1536 to pool, bottlenecks of 128 in SE and attention."""

    channels: int
    scale: int
    pooling_channels: int
    bottleneck: int
    embedding: int


class Ecapa(nn.Module):
    """A convolution, three SE-Res2 blocks, a layer over all three, attentive statistics, BN, an affine layer.

    The layer over the blocks is affine-ReLU with no BN and the embedding has none either, as in WeSpeaker,
    whose counts of parameters (6.19 M and 14.65 M) these are. Padded by zeros. Frame layers, our reading: the
    first convolution, each block, the layer over them; narrow_bn is the third block, wide_bn the last layer.
    """

    DILATIONS = (2, 3, 4)
    NARROW_BN, WIDE_BN = 3, 4
    receptive_field = 1

    def __init__(self, settings: EcapaSettings, feature_dim: int) -> None:
        super().__init__()
        channels, pooled, bottleneck = settings.channels, settings.pooling_channels, settings.bottleneck
        self.feature_dim, self.embedding_dim = feature_dim, settings.embedding
        self.layer_dims = [channels] * 4 + [pooled]
        self.first = tdnn(feature_dim, channels, 5)
        self.blocks = nn.ModuleList(
            SeRes2Block(channels, settings.scale, bottleneck, dilation) for dilation in self.DILATIONS
        )
        self.aggregation = nn.Sequential(padded_convolution(3 * channels, pooled), nn.ReLU(inplace=True))
        self.pooling = AttentiveStatistics(pooled, bottleneck)
        self.norm = nn.BatchNorm1d(2 * pooled)
        self.output = nn.Linear(2 * pooled, settings.embedding)

    def forward(self, features: Tensor) -> Tensor:
        """(batch, frames, feature_dim) -> (batch, embedding_dim) in float32."""
        return self.embed(self.frame_layers(features)[-1])

    def frame_layers(self, features: Tensor) -> list[Tensor]:
        """The frame layers' outputs, (batch, layer_dims[i], frames).

        Each block's input, and its shortcut, is the sum of the outputs of all layers before it (section 3.3).
        """
        outputs = [self.first(as_image(features))]
        total = outputs[0]
        for block in self.blocks:
            outputs.append(total + block(total))
            total = total + outputs[-1]
        outputs.append(self.aggregation(torch.cat(outputs[1:], dim=1)))
        return [output.squeeze(2) for output in outputs]

    def embed(self, last: Tensor) -> Tensor:
        """(batch, pooling_channels, frames) -> embedding, in float32 also under autocast."""
        with full_precision(last):
            return self.output(self.norm(self.pooling(last)))


class SeRes2Block(nn.Module):
    """Affine, dilated Res2 convolution, affine, squeeze-excitation; without the shortcut."""

    def __init__(self, channels: int, scale: int, bottleneck: int, dilation: int) -> None:
        super().__init__()
        width = channels // scale
        self.before, self.after = tdnn(channels, channels), tdnn(channels, channels)
        self.groups = nn.ModuleList(tdnn(width, width, 3, dilation) for _ in range(scale - 1))
        self.squeeze = nn.Sequential(
            padded_convolution(channels, bottleneck),
            nn.ReLU(inplace=True),
            padded_convolution(bottleneck, channels),
            nn.Sigmoid(),
        )

    def forward(self, image: Tensor) -> Tensor:
        """(batch, channels, 1, frames) -> the same shape."""
        image = self.after(self.res2(self.before(image)))
        return image * self.squeeze(image.mean(3, keepdim=True))

    def res2(self, image: Tensor) -> Tensor:
        """y_1 = x_1, y_2 = f_2(x_2), y_i = f_i(x_i + y_{i-1}) over groups of channels (arXiv 1904.01169)."""
        first, *others = image.chunk(len(self.groups) + 1, dim=1)
        outputs = [first]
        for group, layer in zip(others, self.groups, strict=True):
            outputs.append(layer(group if len(outputs) == 1 else group + outputs[-1]))
        return torch.cat(outputs, dim=1)


def tdnn(inputs: int, outputs: int, kernel: int = 1, dilation: int = 1) -> nn.Sequential:
    """Convolution-ReLU-BN."""
    return nn.Sequential(
        padded_convolution(inputs, outputs, kernel, dilation),
        nn.ReLU(inplace=True),
        nn.BatchNorm2d(outputs),
    )
