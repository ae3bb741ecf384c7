"""The small student of arXiv 2303.01125: frame-wise fully-connected layers, mean and std, a linear layer."""

from dataclasses import dataclass

from torch import Tensor, nn

from spkdistill.models.layers import frame_layer, full_precision, run_frame_layers
from spkdistill.models.pooling import statistics


@dataclass(frozen=True)
class Fc8Settings:
    """Our reading: 8 layers of 256 channels meet the paper's counts of parameters; it gives no table."""

    channels: int
    layers: int
    embedding: int


class Fc8(nn.Module):
    """Each layer sees one frame, affine-ReLU-BN; only pooling looks across frames."""

    receptive_field = 1

    def __init__(self, settings: Fc8Settings, feature_dim: int) -> None:
        super().__init__()
        self.feature_dim, self.embedding_dim = feature_dim, settings.embedding
        self.layer_dims = [settings.channels] * settings.layers
        inputs = [feature_dim, *self.layer_dims[:-1]]
        self.frames = nn.ModuleList(frame_layer(*dims) for dims in zip(inputs, self.layer_dims, strict=True))
        self.output = nn.Linear(2 * settings.channels, settings.embedding)

    def forward(self, features: Tensor) -> Tensor:
        """(batch, frames, feature_dim) -> (batch, embedding_dim) in float32."""
        return self.embed(self.frame_layers(features)[-1])

    def frame_layers(self, features: Tensor) -> list[Tensor]:
        """Every layer's output, (batch, channels, frames)."""
        return run_frame_layers(self.frames, features)

    def embed(self, last: Tensor) -> Tensor:
        """(batch, channels, frames) -> embedding, in float32 also under autocast."""
        with full_precision(last):
            return self.output(statistics(last))
