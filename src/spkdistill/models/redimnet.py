"""ReDimNet (Yakovlev et al., arXiv 2407.18223): maps and signals of one volume, reshaped into each other."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from spkdistill.errors import ConfigError
from spkdistill.models.layers import as_image, full_precision, padded_convolution
from spkdistill.models.pooling import AttentiveStatistics
from spkdistill.models.sizes import REDIMNET_HEADS as HEADS

EPSILON = 1e-6


@dataclass(frozen=True)
class RedimnetSettings:
    """`channels` of the stem, and by stage: stride over frequency, 2-D blocks, times that these are wider,
    times that the 1-D block is narrower than the signal (0: no such block).

    `kind` of the 2-D blocks: convnext, resnet, or resnet_se; `group` is the channels of a group in their
    convolutions.
    """

    channels: int
    strides: tuple[int, ...]
    blocks: tuple[int, ...]
    expansions: tuple[int, ...]
    reductions: tuple[int, ...]
    kind: str
    group: int
    bottleneck: int
    embedding: int


class Redimnet(nn.Module):
    """A stem, stages of 2-D and 1-D blocks, attentive statistics (as in ECAPA-TDNN), BN, an affine layer.

    Signals are (batch, frames, frequencies * channels), maps (batch, channels, frames, frequencies) with the
    channels innermost in memory, so that one is the other without a copy. A stride makes frequencies into
    channels; the volume stays. A stage's input, and that of the statistics, is the weighted sum of all
    signals before it. Frame layers, our reading: the stem's signal, those of the stages and the last sum;
    narrow_bn is the last stage, wide_bn the sum, which is not aggregated.
    """

    NARROW_BN, WIDE_BN = -2, -1
    receptive_field = 1

    def __init__(self, settings: RedimnetSettings, feature_dim: int) -> None:
        super().__init__()
        if settings.kind not in BLOCKS:
            raise ConfigError(f"model.kind: expected one of {', '.join(BLOCKS)}, found {settings.kind!r}")
        channels, rows, volume = settings.channels, feature_dim, settings.channels * feature_dim
        self.feature_dim, self.embedding_dim = feature_dim, settings.embedding
        self.stem = nn.Conv2d(1, channels, 3, padding=1)
        self.stem_norm = nn.LayerNorm(channels, eps=EPSILON)
        self.stages = nn.ModuleList()
        by_stage = zip(
            settings.strides, settings.blocks, settings.expansions, settings.reductions, strict=True
        )
        for stride, blocks, expansion, reduction in by_stage:
            maps = map_stage(settings, channels, rows, stride, blocks, expansion)
            channels, rows = channels * stride, rows // stride
            signals = TimeContext(volume, volume // reduction) if reduction else nn.Identity()
            self.stages.append(Stage(maps, signals, rows * stride))
        count = len(settings.strides)
        self.weights = nn.ParameterList(nn.Parameter(torch.zeros(n + 1, volume)) for n in range(1, count + 1))
        self.layer_dims = [volume] * (count + 2)
        self.AGGREGATED = tuple(range(count + 1))
        self.pooling = AttentiveStatistics(volume, settings.bottleneck)
        self.norm = nn.BatchNorm1d(2 * volume)
        self.output = nn.Linear(2 * volume, settings.embedding)

    def forward(self, features: Tensor) -> Tensor:
        """(batch, frames, feature_dim) -> (batch, embedding_dim) in float32."""
        return self.embed(self.frame_layers(features)[-1])

    def frame_layers(self, features: Tensor) -> list[Tensor]:
        """(batch, channels * feature_dim, frames) each."""
        image = self.stem(features.unsqueeze(3).permute(0, 3, 1, 2))
        signals = [self.stem_norm(image.permute(0, 2, 3, 1)).flatten(2)]
        for stage, weights in zip(self.stages, [None, *self.weights], strict=False):
            signals.append(stage(weighted_sum(signals, weights)))
        signals.append(weighted_sum(signals, self.weights[-1]))
        return [signal.transpose(1, 2) for signal in signals]

    def embed(self, last: Tensor) -> Tensor:
        """(batch, channels * feature_dim, frames) -> embedding, in float32 also under autocast."""
        with full_precision(last):
            return self.output(self.norm(self.pooling(last)))


class Stage(nn.Module):
    """2-D blocks on the signal as a map, then a 1-D block."""

    def __init__(self, maps: nn.Module, signals: nn.Module, rows: int) -> None:
        super().__init__()
        self.maps, self.signals, self.rows = maps, signals, rows

    def forward(self, signal: Tensor) -> Tensor:
        """(batch, frames, volume) -> the same shape."""
        image = signal.unflatten(2, (self.rows, -1)).permute(0, 3, 1, 2)
        return self.signals(self.maps(image).permute(0, 2, 3, 1).flatten(2))


def weighted_sum(signals: list[Tensor], weights: Tensor | None) -> Tensor:
    """sum_i softmax_i(w)_i x_i, unit by unit; a single signal needs no weights."""
    if weights is None:
        return signals[0]
    shares = weights.softmax(0).to(signals[-1].dtype)
    return sum(share * signal for share, signal in zip(shares, signals, strict=True))


def map_stage(
    settings: RedimnetSettings, channels: int, rows: int, stride: int, blocks: int, expansion: int
) -> nn.Sequential:
    """Frequencies to channels, the blocks at `expansion` times the channels, and back to the volume."""
    outputs = channels * stride
    width, kind = outputs * expansion, BLOCKS[settings.kind]
    layers = nn.Sequential(nn.Conv2d(channels, width, (1, stride), (1, stride)))
    for _ in range(blocks):
        layers.append(kind(width, settings.group, rows // stride))
    if expansion > 1:
        layers.extend([
            nn.Conv2d(width, outputs, 3, padding=1, groups=groups(outputs, settings.group)),
            nn.BatchNorm2d(outputs, eps=EPSILON),
            nn.GELU(),
            nn.Conv2d(outputs, outputs, 1),
        ])  # fmt: skip
    return layers


def groups(channels: int, group: int) -> int:
    """How many, of so many channels each; one where there are fewer than twice as many."""
    return max(1, channels // group)


class Convnext(nn.Module):
    """x + affine(GELU(BN(grouped convolution(x))))."""

    def __init__(self, grouped: nn.Conv2d) -> None:
        super().__init__()
        channels = grouped.out_channels
        self.body = nn.Sequential(
            grouped, nn.BatchNorm2d(channels), nn.GELU(), nn.Conv2d(channels, channels, 1)
        )

    def forward(self, image: Tensor) -> Tensor:
        """(batch, channels, frames, frequencies) -> the same shape."""
        return image + self.body(image)


class Residual(nn.Module):
    """ReLU(x + f(x)): grouped convolution 3 x 3, affine, ReLU, BN; the first two and BN; a gate if any."""

    def __init__(self, channels: int, group: int, gate: nn.Module) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *separable(channels, group),
            nn.ReLU(inplace=True),
            nn.BatchNorm2d(channels),
            *separable(channels, group),
            nn.BatchNorm2d(channels),
            gate,
        )

    def forward(self, image: Tensor) -> Tensor:
        """(batch, channels, frames, frequencies) -> the same shape."""
        return (image + self.body(image)).relu_()


class FrequencyGate(nn.Module):
    """Squeeze-excitation by frequency: x sigmoid(W_2 ReLU(W_1 m + b_1) + b_2), m the mean of all else."""

    def __init__(self, rows: int, hidden: int) -> None:
        super().__init__()
        self.gate = nn.Sequential(
            nn.Linear(rows, hidden), nn.ReLU(inplace=True), nn.Linear(hidden, rows), nn.Sigmoid()
        )

    def forward(self, image: Tensor) -> Tensor:
        """(batch, channels, frames, frequencies) -> the same shape."""
        return image * self.gate(image.mean((1, 2)))[:, None, None, :]


def separable(channels: int, group: int) -> tuple[nn.Module, nn.Module]:
    """A grouped convolution 3 x 3 without bias, and an affine layer."""
    grouped = nn.Conv2d(channels, channels, 3, padding=1, groups=groups(channels, group), bias=False)
    return grouped, nn.Conv2d(channels, channels, 1)


def convnext_block(channels: int, group: int, rows: int) -> Convnext:
    """Of a map."""
    return Convnext(nn.Conv2d(channels, channels, 3, padding=1, groups=groups(channels, group)))


def residual_block(channels: int, group: int, rows: int) -> Residual:
    """Without a gate."""
    return Residual(channels, group, nn.Identity())


def gated_block(channels: int, group: int, rows: int) -> Residual:
    """With one of 32 to 64 hidden units."""
    return Residual(channels, group, FrequencyGate(rows, min(64, max(channels, 32))))


BLOCKS = {"convnext": convnext_block, "resnet": residual_block, "resnet_se": gated_block}


class TimeContext(nn.Module):
    """x + affine(attention(convolutions(LN(affine(x))))), narrower inside: the 1-D block "conv+att".

    No fewer than sizes.NARROWEST: on a CPU torch 2.13 never returns from a convolution of bfloat16 by channel
    over 15 frames or more if there are 16 channels or fewer.
    """

    KERNELS = (7, 19, 31, 59)

    def __init__(self, volume: int, hidden: int) -> None:
        super().__init__()
        self.reduce = nn.Sequential(nn.Linear(volume, hidden), nn.LayerNorm(hidden, eps=EPSILON))
        self.convolutions = nn.Sequential(
            *(Convnext(padded_convolution(hidden, hidden, kernel, groups=hidden)) for kernel in self.KERNELS)
        )
        self.attention = TransformerLayer(hidden)
        self.expand = nn.Linear(hidden, volume)

    def forward(self, signal: Tensor) -> Tensor:
        """(batch, frames, volume) -> the same shape."""
        image = self.convolutions(as_image(self.reduce(signal)))
        return signal + self.expand(self.attention(image.squeeze(2).transpose(1, 2)))


class TransformerLayer(nn.Module):
    """h = LN(x + attention(x)), LN(h + feed-forward(h)), without dropout; as wide inside as outside."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.query, self.key, self.value, self.output = (nn.Linear(channels, channels) for _ in range(4))
        self.attention_norm = nn.LayerNorm(channels, eps=EPSILON)
        self.feed_forward = nn.Sequential(
            nn.Linear(channels, channels), nn.GELU(approximate="tanh"), nn.Linear(channels, channels)
        )
        self.norm = nn.LayerNorm(channels, eps=EPSILON)

    def forward(self, hidden: Tensor) -> Tensor:
        """(batch, frames, channels) -> the same shape."""
        hidden = self.attention_norm(hidden + self.attend(hidden))
        return self.norm(hidden + self.feed_forward(hidden))

    def attend(self, hidden: Tensor) -> Tensor:
        """softmax(q k^T / sqrt(channels / HEADS)) v for each head, joined by an affine layer."""
        query, key, value = (
            layer(hidden).unflatten(2, (HEADS, -1)).transpose(1, 2)
            for layer in (self.query, self.key, self.value)
        )
        weights = (query / math.sqrt(query.shape[3]) @ key.transpose(2, 3)).softmax(3)
        return self.output((weights.to(value.dtype) @ value).transpose(1, 2).flatten(2))
