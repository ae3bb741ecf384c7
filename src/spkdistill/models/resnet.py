"""ResNets over frames and frequency (He et al., arXiv 1512.03385), as WeSpeaker and its like make them."""

from collections.abc import Callable
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
        body, expansion = (bottleneck, EXPANSION) if settings.bottleneck else (basic, 1)
        stages = residual_stages(settings.channels, settings.blocks, body, expansion)
        super().__init__(*stages, 3, feature_dim, settings.embedding)


class Residual(nn.Module):
    """ReLU(f(x) + x), with a projection of x where f changes its shape."""

    def __init__(
        self,
        body: nn.Module,
        inputs: int,
        outputs: int,
        stride: tuple[int, int],
        activation: Callable[..., nn.Module] = nn.ReLU,
    ) -> None:
        super().__init__()
        self.stride, self.body, self.shortcut = stride, body, nn.Identity()
        self.activation = activation(inplace=True)
        if stride != (1, 1) or inputs != outputs:
            self.shortcut = nn.Sequential(*convolution(inputs, outputs))

    def forward(self, image: Tensor) -> Tensor:
        """(batch, inputs, frames, frequencies) -> (batch, outputs, both over the stride)."""
        return self.activation(self.body(image) + self.shortcut(strided(image, self.stride)))


def residual_stages(
    channels: int,
    blocks: tuple[int, ...],
    body: Callable[[int, int, tuple[int, int]], nn.Module],
    expansion: int,
    activation: Callable[..., nn.Module] = nn.ReLU,
) -> tuple[list[nn.Module], list[int]]:
    """The stem and four stages of residual blocks, and the channels of their maps.

    `body(inputs, width, stride)` has `expansion` times `width` channels; each stage doubles the width.
    """
    if len(blocks) != 4:
        raise ConfigError(f"model.blocks: expected four numbers of blocks, found {list(blocks)}")
    stages = [nn.Sequential(*convolution(1, channels, 3), nn.ReLU(inplace=True))]
    sizes = [channels]
    for stage, count in enumerate(blocks):
        width, inputs, layers = channels * 2**stage, sizes[-1], nn.Sequential()
        outputs = width * expansion
        for block in range(count):
            stride = (2, 2) if stage > 0 and block == 0 else (1, 1)
            layers.append(Residual(body(inputs, width, stride), inputs, outputs, stride, activation))
            inputs = outputs
        stages.append(layers)
        sizes.append(outputs)
    return stages, sizes


def strided(image: Tensor, stride: tuple[int, int]) -> Tensor:
    """Every so-manieth frame and frequency, what a convolution 1 x 1 of that stride sees.

    On a CPU torch 2.13 writes beyond its memory in that convolution, of bfloat16 and channels innermost.
    """
    return image[:, :, :: stride[0], :: stride[1]]


def basic(inputs: int, width: int, stride: tuple[int, int]) -> nn.Sequential:
    """Two convolutions 3 x 3, each with BN."""
    return nn.Sequential(
        *convolution(inputs, width, 3, stride),
        nn.ReLU(inplace=True),
        *convolution(width, width, 3),
    )


def bottleneck(inputs: int, width: int, stride: tuple[int, int]) -> nn.Sequential:
    """Convolutions 1 x 1 to the width, 3 x 3, and 1 x 1 to EXPANSION times the width, each with BN."""
    return nn.Sequential(
        *convolution(inputs, width),
        nn.ReLU(inplace=True),
        *convolution(width, width, 3, stride),
        nn.ReLU(inplace=True),
        *convolution(width, EXPANSION * width),
    )
