"""ResNets with the parameter-free attention SimAM (Yang et al., ICML 2021), as WeSpeaker's SimAM_ResNet."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn

from spkdistill.models.layers import full_precision
from spkdistill.models.maps import MapNetwork
from spkdistill.models.pooling import LocalAttentiveStatistics
from spkdistill.models.resnet import EXPANSION, ResnetSettings, basic, bottleneck, residual_stages


@dataclass(frozen=True)
class SamresnetSettings(ResnetSettings):
    """Published: 64 channels, blocks 3 4 6 3 (SimAM_ResNet34) or 6 16 24 3 (100), attention of 128.

    With `bottleneck` blocks 3 4 6 3 is our reading of SAM-ResNet50.
    """

    attention: int


class Samresnet(MapNetwork):
    """A ResNet whose blocks end in SimAM, before the shortcut, and whose statistics are attentive."""

    def __init__(self, settings: SamresnetSettings, feature_dim: int) -> None:
        body, expansion = (bottleneck, EXPANSION) if settings.bottleneck else (basic, 1)
        stages = residual_stages(settings.channels, settings.blocks, attended(body), expansion)
        super().__init__(*stages, 3, feature_dim, settings.embedding)
        self.pooling = LocalAttentiveStatistics(self.layer_dims[-1], settings.attention)

    def embed(self, last: Tensor) -> Tensor:
        """(batch, channels * frequencies, frames) -> embedding, in float32 also under autocast."""
        with full_precision(last):
            return self.output(self.pooling(last))


class SimAm(nn.Module):
    """x sigmoid(d / (4 (v + 1e-4)) + 1/2), d = (x - mean)^2 and v = sum d / (n - 1) over the n of a map."""

    FLOOR = 1e-4

    def forward(self, image: Tensor) -> Tensor:
        """(batch, channels, frames, frequencies) -> the same shape.

        As rows of channels: on a CPU autograd of means over two axes takes five times as long.
        """
        rows = image.permute(0, 2, 3, 1).flatten(1, 2)
        distance = (rows - rows.mean(1, keepdim=True)).square()
        variance = distance.sum(1, keepdim=True) / max(rows.shape[1] - 1, 1)
        rows = rows * (distance * (0.25 / (variance + self.FLOOR)) + 0.5).sigmoid()
        return rows.unflatten(1, image.shape[2:]).permute(0, 3, 1, 2)


def attended(
    body: Callable[[int, int, tuple[int, int]], nn.Sequential],
) -> Callable[[int, int, tuple[int, int]], nn.Sequential]:
    """The body of a residual block with SimAM at its end."""
    return lambda inputs, width, stride: body(inputs, width, stride).append(SimAm())
