"""The x-vector TDNN, layer by layer as in Kaldi's egs/voxceleb/v2 (Snyder et al., ICASSP 2018)."""

from dataclasses import dataclass

from torch import Tensor, nn

from spkdistill.models.layers import frame_layer, full_precision, run_frame_layers
from spkdistill.models.pooling import statistics


@dataclass(frozen=True)
class XvectorSettings:
    """Widths: 512 / 1500 / 512 in Kaldi; narrower ones make a small TDNN student."""

    channels: int
    pooling_channels: int
    embedding: int


class Xvector(nn.Module):
    """Five TDNN layers, statistics pooling, and the affine of segment6, whose output is the x-vector."""

    CONTEXTS = (
        (5, 1),
        (3, 2),
        (3, 3),
        (1, 1),
        (1, 1),
    )  # (kernel, dilation): t-2..t+2, {-2,0,2}, {-3,0,3}, t, t
    NARROW_BN, WIDE_BN = 3, 4  # frame4 and frame5, the targets narrow_bn and wide_bn

    def __init__(self, settings: XvectorSettings, feature_dim: int) -> None:
        super().__init__()
        self.feature_dim, self.embedding_dim = feature_dim, settings.embedding
        self.layer_dims = [settings.channels] * (len(self.CONTEXTS) - 1) + [settings.pooling_channels]
        self.receptive_field = 1 + sum((kernel - 1) * dilation for kernel, dilation in self.CONTEXTS)
        inputs = [feature_dim, *self.layer_dims[:-1]]
        self.frames = nn.ModuleList(
            frame_layer(*dims, *context)
            for *dims, context in zip(inputs, self.layer_dims, self.CONTEXTS, strict=True)
        )
        self.segment6 = nn.Linear(2 * settings.pooling_channels, settings.embedding)

    def forward(self, features: Tensor) -> Tensor:
        """(batch, frames >= receptive_field, feature_dim) -> (batch, embedding_dim) in float32."""
        return self.embed(self.frame_layers(features)[-1])

    def frame_layers(self, features: Tensor) -> list[Tensor]:
        """The outputs h1..h5, (batch, layer_dims[i], frames_i); frames_i decreases, there is no padding."""
        return run_frame_layers(self.frames, features)

    def embed(self, last: Tensor) -> Tensor:
        """h5 (batch, pooling_channels, frames) -> x-vector, in float32 also under autocast."""
        with full_precision(last):
            return self.segment6(statistics(last))
