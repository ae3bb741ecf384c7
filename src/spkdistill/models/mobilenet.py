"""MobileNetV2 (Sandler et al., arXiv 1801.04381) over frames and frequency, for students."""

from dataclasses import dataclass

from torch import Tensor, nn

from spkdistill.models.maps import MapNetwork, convolution


@dataclass(frozen=True)
class MobilenetSettings:
    """`channels` of the stem: 32 is the paper's width multiplier 1, and all other widths go with it."""

    channels: int
    expansion: int
    embedding: int


class Mobilenet(MapNetwork):
    """Table 2 of the paper through its last inverted residuals; statistics replace the 1280 channels after.

    Our reading: frequency is halved wherever the paper halves both axes, frames only the first three times.
    """

    STAGES = (  # channels at width 1, blocks, stride over frames, stride over frequency
        (16, 1, 1, 1),
        (24, 2, 2, 2),
        (32, 3, 2, 2),
        (64, 4, 1, 2),
        (96, 3, 1, 1),
        (160, 3, 1, 2),
        (320, 1, 1, 1),
    )

    def __init__(self, settings: MobilenetSettings, feature_dim: int) -> None:
        inputs = settings.channels
        stages = [nn.Sequential(*convolution(1, inputs, 3, (2, 2)), nn.ReLU6(inplace=True))]
        channels = [inputs]
        for stage, (width, blocks, *stride) in enumerate(self.STAGES):
            outputs = max(1, width * settings.channels // 32)
            expansion = 1 if stage == 0 else settings.expansion
            layers = nn.Sequential()
            for block in range(blocks):
                stride = tuple(stride) if block == 0 else (1, 1)
                layers.append(InvertedResidual(inputs, outputs, expansion, stride))
                inputs = outputs
            stages.append(layers)
            channels.append(outputs)
        super().__init__(stages, channels, 5, feature_dim, settings.embedding)


class InvertedResidual(nn.Module):
    """1 x 1 to `expansion` times the channels, 3 x 3 by channel, 1 x 1 back, shortcut where shapes allow."""

    def __init__(self, inputs: int, outputs: int, expansion: int, stride: tuple[int, int]) -> None:
        super().__init__()
        width = inputs * expansion
        widen = (*convolution(inputs, width), nn.ReLU6(inplace=True)) if expansion > 1 else ()
        self.body = nn.Sequential(
            *widen,
            *convolution(width, width, 3, stride, groups=width),
            nn.ReLU6(inplace=True),
            *convolution(width, outputs),
        )
        self.shortcut = stride == (1, 1) and inputs == outputs

    def forward(self, image: Tensor) -> Tensor:
        """(batch, inputs, frames, frequencies) -> (batch, outputs, both over the stride)."""
        return image + self.body(image) if self.shortcut else self.body(image)
