"""What networks of 2-D convolutions share: maps over frames and frequency, and frame layers made of them."""

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional

from spkdistill.models.layers import full_precision
from spkdistill.models.pooling import statistics


def convolution(
    inputs: int, outputs: int, kernel: int = 1, stride: int | tuple[int, int] = 1, groups: int = 1
) -> tuple[nn.Module, nn.Module]:
    """A padded convolution without bias over (frames, frequency), and its BN; a stride rounds up."""
    layer = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
    return layer, nn.BatchNorm2d(outputs)


class MapNetwork(nn.Module):
    """Stages of 2-D convolutions, statistics of the last map's channels by frequency, an affine layer.

    Frame layers, our reading: each stage's map, the stem's first, averaged over frequency and brought to the
    frames of the last, and at the end the last map as it is, channels by frequency. Of the two views of the
    last map the average is narrow_bn and the whole wide_bn; the average is not aggregated.
    """

    NARROW_BN, WIDE_BN = -2, -1
    receptive_field = 1

    def __init__(
        self,
        stages: Sequence[nn.Module],
        channels: Sequence[int],
        halvings: int,
        feature_dim: int,
        embedding: int,
    ) -> None:
        """Stages with the channels of their maps; they halve the frequency so many times."""
        super().__init__()
        rows = -(-feature_dim // 2**halvings)
        self.feature_dim, self.embedding_dim = feature_dim, embedding
        self.layer_dims = [*channels, channels[-1] * rows]
        self.AGGREGATED = (*range(len(channels) - 1), len(channels))
        self.stages = nn.ModuleList(stages)
        self.output = nn.Linear(2 * self.layer_dims[-1], embedding)

    def forward(self, features: Tensor) -> Tensor:
        """(batch, frames, feature_dim) -> (batch, embedding_dim) in float32."""
        return self.embed(flattened(self.maps(features)[-1]))

    def frame_layers(self, features: Tensor) -> list[Tensor]:
        """(batch, layer_dims[i], frames of the last map)."""
        maps = self.maps(features)
        frames = maps[-1].shape[2]
        means = [functional.adaptive_avg_pool1d(image.mean(3), frames) for image in maps]
        return [*means, flattened(maps[-1])]

    def maps(self, features: Tensor) -> list[Tensor]:
        """Every stage's output, (batch, channels, frames_i, frequencies_i).

        In memory the channels are innermost, from the first image of one channel: on a CPU this is twice as
        quick.
        """
        image, maps = features.unsqueeze(3).permute(0, 3, 1, 2), []
        for stage in self.stages:
            image = stage(image)
            maps.append(image)
        return maps

    def embed(self, last: Tensor) -> Tensor:
        """(batch, channels * frequencies, frames) -> embedding, in float32 also under autocast."""
        with full_precision(last):
            return self.output(statistics(last))


def flattened(image: Tensor) -> Tensor:
    """(batch, channels, frames, frequencies) -> (batch, channels * frequencies, frames)."""
    return image.permute(0, 2, 3, 1).flatten(2).transpose(1, 2)
