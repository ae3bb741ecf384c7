"""Res2Net (Gao et al., arXiv 1904.01169) over frames and frequency, as WeSpeaker and 3D-Speaker make it."""

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from spkdistill.models.maps import MapNetwork, convolution
from spkdistill.models.resnet import residual_stages, strided

EXPANSION = 2  # of a block's channels
CLIPPED_RELU = partial(nn.Hardtanh, 0.0, 20.0)


@dataclass(frozen=True)
class Res2netSettings:
    """Published: 32 channels, blocks 3 4 6 3, scale 2 (Res2Net34_Base); 64 channels are its Large.

    `scale` is the number of groups of channels in a block.
    """

    channels: int
    blocks: tuple[int, ...]
    scale: int
    embedding: int


class Res2net(MapNetwork):
    """A stem and four stages of Res2 blocks; each stage after the first halves frames and frequency."""

    def __init__(self, settings: Res2netSettings, feature_dim: int) -> None:
        body = partial(Res2Body, scale=settings.scale)
        stages = residual_stages(settings.channels, settings.blocks, body, EXPANSION, CLIPPED_RELU)
        super().__init__(*stages, 3, feature_dim, settings.embedding)


class Res2Body(nn.Module):
    """Convolutions 1 x 1, 3 x 3 group by group, 1 x 1 to EXPANSION times the width, each with BN."""

    def __init__(self, inputs: int, width: int, stride: tuple[int, int], scale: int) -> None:
        super().__init__()
        self.stride, size = stride, width // scale
        self.before = nn.Sequential(*convolution(inputs, width), CLIPPED_RELU(inplace=True))
        self.groups = nn.ModuleList(
            nn.Sequential(*convolution(size, size, 3), CLIPPED_RELU(inplace=True)) for _ in range(scale - 1)
        )
        self.after = nn.Sequential(*convolution(width, EXPANSION * width))

    def forward(self, image: Tensor) -> Tensor:
        """(batch, inputs, frames, frequencies) -> (batch, EXPANSION * width, both over the stride)."""
        return self.after(self.res2(self.before(strided(image, self.stride))))

    def res2(self, image: Tensor) -> Tensor:
        """y_1 = f_1(x_1), y_i = f_i(x_i + y_{i-1}) over groups of channels; the last, y_s = x_s."""
        *groups, last = image.chunk(len(self.groups) + 1, dim=1)
        outputs = []
        for group, layer in zip(groups, self.groups, strict=True):
            outputs.append(layer(group + outputs[-1] if outputs else group))
        return torch.cat([*outputs, last], dim=1)
