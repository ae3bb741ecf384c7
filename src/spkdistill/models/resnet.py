"""ResNets over frames and frequency (He et al., arXiv 1512.03385), as WeSpeaker and its like make them."""

from dataclasses import dataclass

from torch import Tensor, nn

from spkdistill.errors import ConfigError
from spkdistill.models.maps import MapNetwork, convolution

EXPANSION = 4  # of a bottleneck block's channels


@dataclass(frozen=True)
class ResnetSettings:
    """`blocks` of the four stages: 2 2 2 2 is ResNet18, 3 4 6 3 ResNet34.

    With `bottleneck` blocks 3 4 6 3 is ResNet50, 3 4 23 3 ResNet101, 3 8 36 3 ResNet152. The first stage has
    `channels`, each other twice those of the one before.
    """

    channels: int
    blocks: tuple[int, ...]
    bottleneck: bool
    embedding: int


class Resnet(MapNetwork):
    """A stem and four stages of residual blocks; each stage after the first halves frames and frequency."""

    def __init__(self, settings: ResnetSettings, feature_dim: int) -> None:
        if len(settings.blocks) != 4:
            raise ConfigError(f"model.blocks: expected four numbers of blocks, found {list(settings.blocks)}")
        inputs = settings.channels
        stages = [nn.Sequential(*convolution(1, inputs, 3), nn.ReLU(inplace=True))]
        channels = [inputs]
        for stage, blocks in enumerate(settings.blocks):
            body = bottleneck if settings.bottleneck else basic
            width, stride = settings.channels * 2**stage, 1 if stage == 0 else 2
            outputs = width * (EXPANSION if settings.bottleneck else 1)
            layers = nn.Sequential()
            for block in range(blocks):
                stride = stride if block == 0 else 1
                layers.append(Residual(body(inputs, width, stride), inputs, outputs, stride))
                inputs = outputs
            stages.append(layers)
            channels.append(outputs)
        super().__init__(stages, channels, 3, feature_dim, settings.embedding)


class Residual(nn.Module):
    """ReLU(f(x) + x), with a projection of x where f changes its shape."""

    def __init__(self, body: nn.Module, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.stride, self.body, self.shortcut = stride, body, nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(*convolution(inputs, outputs))

    def forward(self, image: Tensor) -> Tensor:
        """(batch, inputs, frames, frequencies) -> (batch, outputs, frames / stride, frequencies / stride).

        The shortcut's stride is a slice: on a CPU torch 2.13 writes beyond its memory in a strided 1 x 1
        convolution of bfloat16 whose channels are innermost.
        """
        here = image[:, :, :: self.stride, :: self.stride]
        return (self.body(image) + self.shortcut(here)).relu_()


def basic(inputs: int, width: int, stride: int) -> nn.Sequential:
    """Two convolutions 3 x 3, each with BN."""
    return nn.Sequential(
        *convolution(inputs, width, 3, stride),
        nn.ReLU(inplace=True),
        *convolution(width, width, 3),
    )


def bottleneck(inputs: int, width: int, stride: int) -> nn.Sequential:
    """Convolutions 1 x 1 to the width, 3 x 3, and 1 x 1 to EXPANSION times the width, each with BN."""
    return nn.Sequential(
        *convolution(inputs, width),
        nn.ReLU(inplace=True),
        *convolution(width, width, 3, stride),
        nn.ReLU(inplace=True),
        *convolution(width, EXPANSION * width),
    )
