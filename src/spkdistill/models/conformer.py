"""MFA-Conformer (Zhang et al., arXiv 2203.15249): Conformer blocks whose outputs are pooled side by side."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from spkdistill.errors import ConfigError
from spkdistill.models.layers import as_image, full_precision, padded_convolution
from spkdistill.models.pooling import AttentiveStatistics

# On a CPU torch 2.13 never returns from bfloat16 convolutions of each of so few channels, lying innermost,
# over 15 frames or more.
HANGING_CHANNELS = 16


@dataclass(frozen=True)
class ConformerSettings:
    """Published: 6 blocks of 256 channels, 4 heads, 2048 hidden units, 15 frames, every second frame."""

    channels: int
    blocks: int
    heads: int
    hidden: int
    kernel: int
    subsampling: int
    bottleneck: int
    dropout: float
    embedding: int


class Conformer(nn.Module):
    """Strided 2-D convolutions, Conformer blocks, the layer-normed concatenation of all blocks' outputs,
    attentive statistics (as in ECAPA-TDNN), BN, an affine layer.

    Frame layers, our reading: the subsampling, each block, the concatenation; narrow_bn is the last block,
    wide_bn the concatenation, which repeats the blocks and so is not aggregated.
    """

    NARROW_BN, WIDE_BN = -2, -1

    def __init__(self, settings: ConformerSettings, feature_dim: int) -> None:
        super().__init__()
        check(settings)
        channels, joined = settings.channels, settings.channels * settings.blocks
        self.feature_dim, self.embedding_dim = feature_dim, settings.embedding
        self.layer_dims = [channels] * (settings.blocks + 1) + [joined]
        self.AGGREGATED = tuple(range(settings.blocks + 1))
        self.receptive_field = 2 * settings.subsampling - 1
        self.subsampling = Subsampling(feature_dim, channels, settings.subsampling)
        self.dropout = nn.Dropout(settings.dropout)
        self.blocks = nn.ModuleList(ConformerBlock(settings) for _ in range(settings.blocks))
        self.joined_norm = nn.LayerNorm(joined)
        self.pooling = AttentiveStatistics(joined, settings.bottleneck)
        self.norm = nn.BatchNorm1d(2 * joined)
        self.output = nn.Linear(2 * joined, settings.embedding)

    def forward(self, features: Tensor) -> Tensor:
        """(batch, frames >= receptive_field, feature_dim) -> (batch, embedding_dim) in float32."""
        return self.embed(self.frame_layers(features)[-1])

    def frame_layers(self, features: Tensor) -> list[Tensor]:
        """(batch, layer_dims[i], frames / subsampling)."""
        outputs = [self.subsampling(features)]
        hidden = self.dropout(outputs[0])
        positions = self.dropout(relative_positions(hidden))
        for block in self.blocks:
            hidden = block(hidden, positions)
            outputs.append(hidden)
        outputs.append(self.joined_norm(torch.cat(outputs[1:], dim=2)))
        return [output.transpose(1, 2) for output in outputs]

    def embed(self, last: Tensor) -> Tensor:
        """(batch, channels * blocks, frames) -> embedding, in float32 also under autocast."""
        with full_precision(last):
            return self.output(self.norm(self.pooling(last)))


class Subsampling(nn.Module):
    """Convolutions 3 x 3 of stride 2, with ReLU and no padding; an affine layer; times sqrt(channels)."""

    def __init__(self, feature_dim: int, channels: int, rate: int) -> None:
        super().__init__()
        self.scale = math.sqrt(channels)
        self.convolutions, inputs, rows = nn.Sequential(), 1, feature_dim
        for _ in range(int(math.log2(rate))):
            self.convolutions.extend([nn.Conv2d(inputs, channels, 3, 2), nn.ReLU(inplace=True)])
            inputs, rows = channels, (rows - 1) // 2
        self.output = nn.Linear(channels * rows, channels)

    def forward(self, features: Tensor) -> Tensor:
        """(batch, frames, feature_dim) -> (batch, frames / rate, channels)."""
        maps = self.convolutions(features.unsqueeze(1))  # (batch, channels, frames, frequencies)
        return self.output(maps.permute(0, 2, 3, 1).flatten(2)) * self.scale


class ConformerBlock(nn.Module):
    """Half a feed-forward step, attention, convolution, half a feed-forward step (arXiv 2005.08100)."""

    def __init__(self, settings: ConformerSettings) -> None:
        super().__init__()
        channels, dropout = settings.channels, settings.dropout
        self.first, self.second = (feed_forward(channels, settings.hidden, dropout) for _ in range(2))
        self.attention_norm = nn.LayerNorm(channels)
        self.attention = RelativeAttention(channels, settings.heads)
        self.convolution_norm = nn.LayerNorm(channels)
        self.convolution = ConvolutionModule(channels, settings.kernel)
        self.dropout = nn.Dropout(dropout)
        self.norm = nn.LayerNorm(channels)

    def forward(self, hidden: Tensor, positions: Tensor) -> Tensor:
        """(batch, frames, channels) -> the same shape; positions as in `RelativeAttention`."""
        hidden = hidden + 0.5 * self.first(hidden)
        hidden = hidden + self.dropout(self.attention(self.attention_norm(hidden), positions))
        hidden = hidden + self.dropout(self.convolution(self.convolution_norm(hidden)))
        return self.norm(hidden + 0.5 * self.second(hidden))


class RelativeAttention(nn.Module):
    """Self-attention with relative positions (Transformer-XL, arXiv 1901.02860, equation of section 3.3).

    score_ij = ((q_i + u) . k_j + (q_i + v) . r_{i-j}) / sqrt(channels / heads), r the projected position.
    """

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads, self.size = heads, channels // heads
        self.query, self.key, self.value = (nn.Linear(channels, channels) for _ in range(3))
        self.position = nn.Linear(channels, channels, bias=False)
        self.output = nn.Linear(channels, channels)
        self.content_bias = nn.Parameter(torch.empty(heads, 1, self.size))  # u
        self.position_bias = nn.Parameter(torch.empty(heads, 1, self.size))  # v
        nn.init.xavier_uniform_(self.content_bias)
        nn.init.xavier_uniform_(self.position_bias)

    def forward(self, hidden: Tensor, positions: Tensor) -> Tensor:
        """(batch, frames, channels), positions (1, 2 frames - 1, channels) -> (batch, frames, channels)."""
        query, key, value = (self.split(layer(hidden)) for layer in (self.query, self.key, self.value))
        position = self.split(self.position(positions))
        content = (query + self.content_bias) @ key.transpose(2, 3)
        distance = shifted((query + self.position_bias) @ position.transpose(2, 3))
        weights = ((content + distance).float() / math.sqrt(self.size)).softmax(3)
        return self.output((weights.to(value.dtype) @ value).transpose(1, 2).flatten(2))

    def split(self, hidden: Tensor) -> Tensor:
        """(batch, frames, channels) -> (batch, heads, frames, size)."""
        return hidden.unflatten(2, (self.heads, self.size)).transpose(1, 2)


class ConvolutionModule(nn.Module):
    """Affine, gated linear unit, a convolution of each channel over `kernel` frames, BN, swish, affine."""

    def __init__(self, channels: int, kernel: int) -> None:
        super().__init__()
        self.widen = nn.Linear(channels, 2 * channels)
        self.depthwise = padded_convolution(channels, channels, kernel, groups=channels)
        self.norm = nn.BatchNorm2d(channels)
        self.output = nn.Linear(channels, channels)

    def forward(self, hidden: Tensor) -> Tensor:
        """(batch, frames, channels) -> the same shape."""
        image = as_image(functional.glu(self.widen(hidden)))
        if image.shape[1] <= HANGING_CHANNELS:
            image = image.contiguous()
        image = functional.silu(self.norm(self.depthwise(image)))
        return self.output(image.squeeze(2).transpose(1, 2))


def feed_forward(channels: int, hidden: int, dropout: float) -> nn.Sequential:
    """Layer norm, affine, swish, affine."""
    return nn.Sequential(
        nn.LayerNorm(channels),
        nn.Linear(channels, hidden),
        nn.SiLU(),
        nn.Dropout(dropout),
        nn.Linear(hidden, channels),
        nn.Dropout(dropout),
    )


def relative_positions(hidden: Tensor) -> Tensor:
    """Sinusoids of the distances frames - 1, ..., 0, ..., 1 - frames: (1, 2 frames - 1, channels)."""
    frames, channels = hidden.shape[1:]
    distances = torch.arange(frames - 1, -frames, -1, device=hidden.device, dtype=torch.float32)
    rates = 10000 ** -(torch.arange(0, channels, 2, device=hidden.device) / channels)
    angles = distances.unsqueeze(1) * rates
    return torch.stack([angles.sin(), angles.cos()], dim=2).flatten(1).unsqueeze(0).to(hidden.dtype)


def shifted(scores: Tensor) -> Tensor:
    """Scores by distance, (..., frames, 2 frames - 1), as scores by key, (..., frames, frames).

    Column frames - 1 - (i - j) of row i belongs to key j: padded by one column and read in rows one shorter,
    each row moves on by one against the row before (Transformer-XL, appendix B).
    """
    frames = scores.shape[2]
    padded = functional.pad(scores, (1, 0)).flatten(2)[:, :, frames:]
    return padded.unflatten(2, (frames, 2 * frames - 1))[:, :, :, :frames]


def check(settings: ConformerSettings) -> None:
    """ConfigError for what no such network has; see `sizes` for what does not fit together."""
    if settings.subsampling not in (2, 4):
        raise ConfigError(f"model.subsampling: expected 2 or 4, found {settings.subsampling}")
    if not 0 <= settings.dropout < 1:
        raise ConfigError(f"model.dropout: expected a share under 1, found {settings.dropout}")
