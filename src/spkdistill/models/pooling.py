"""From a sequence of frames to one vector: (attentive) statistics pooling, learnable dictionary encoding."""

import torch
from torch import Tensor, nn
from torch.nn import functional

VARIANCE_FLOOR = 1e-10  # Kaldi's statistics-pooling-component


def statistics(frames: Tensor) -> Tensor:
    """Mean and standard deviation over frames: (batch, channels, frames) -> (batch, 2 * channels) in float32.

    std = sqrt(max(E[h^2] - mean^2, 1e-10)), as Kaldi's StatisticsPoolingComponent.
    """
    mean, power = Moments.apply(frames)
    return torch.cat([mean, (power - mean.square()).clamp(min=VARIANCE_FLOOR).sqrt()], dim=1)


class Moments(torch.autograd.Function):
    """E[h] and E[h^2] over the last axis, accumulated in float32 also where h is bfloat16.

    Written out because autograd of (h * h).mean() walks over h several times: a third of a training step.
    """

    @staticmethod
    def forward(frames: Tensor) -> tuple[Tensor, Tensor]:
        """(batch, channels, frames) -> two of (batch, channels)."""
        wide = frames.to(torch.promote_types(frames.dtype, torch.float32))
        return wide.mean(2), wide.square().mean(2)

    @staticmethod
    def setup_context(ctx: torch.autograd.function.FunctionCtx, inputs: tuple[Tensor], output: tuple) -> None:
        """Keep the frames for the backward pass."""
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, mean_grad: Tensor, power_grad: Tensor) -> Tensor:
        """dh = (dmean + 2 h dpower) / frames."""
        (frames,) = ctx.saved_tensors
        count = frames.shape[2]
        shift = (mean_grad / count).to(frames.dtype).unsqueeze(2)
        slope = (2 * power_grad / count).to(frames.dtype).unsqueeze(2)
        return torch.addcmul(shift, frames, slope)


class AttentiveStatistics(nn.Module):
    """Mean and standard deviation weighted by frame and channel (Desplanques et al., arXiv 2005.07143).

    With context c = [mean; std] of all frames: e_t = V tanh(W [h_t; c] + b) + k, a_t = softmax over t of e_t;
    mean = sum_t a_t h_t, std = sqrt(sum_t a_t h_t^2 - mean^2), channel by channel.
    """

    def __init__(self, channels: int, bottleneck: int) -> None:
        super().__init__()
        self.channels = channels
        self.hidden = nn.Linear(3 * channels, bottleneck)
        self.scores = nn.Linear(bottleneck, channels)

    def forward(self, frames: Tensor) -> Tensor:
        """(batch, channels, frames) -> (batch, 2 * channels) in float32; without autocast."""
        rows = frames.transpose(1, 2)  # (batch, frames, channels)
        rows = rows.to(torch.promote_types(rows.dtype, torch.float32))
        of_frame, of_context = self.hidden.weight.split([self.channels, 2 * self.channels], 1)
        context = functional.linear(statistics(frames), of_context, self.hidden.bias)
        hidden = torch.tanh(functional.linear(rows, of_frame) + context.unsqueeze(1))
        return weighted_statistics(rows, self.scores(hidden))


class LocalAttentiveStatistics(nn.Module):
    """As `AttentiveStatistics`, with weights from each frame alone: e_t = V BN(ReLU(W h_t + b)) + k.

    WeSpeaker's pooling of SimAM-ResNets.
    """

    def __init__(self, channels: int, bottleneck: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(channels, bottleneck)
        self.norm = nn.BatchNorm1d(bottleneck)
        self.scores = nn.Linear(bottleneck, channels)

    def forward(self, frames: Tensor) -> Tensor:
        """(batch, channels, frames) -> (batch, 2 * channels) in float32; without autocast."""
        rows = frames.transpose(1, 2)  # (batch, frames, channels)
        rows = rows.to(torch.promote_types(rows.dtype, torch.float32))
        hidden = torch.relu(self.hidden(rows))
        hidden = self.norm(hidden.flatten(0, 1)).view_as(hidden)
        return weighted_statistics(rows, self.scores(hidden))


def weighted_statistics(rows: Tensor, scores: Tensor) -> Tensor:
    """Mean and standard deviation under softmax over frames of the scores, channel by channel.

    Both (batch, frames, channels) -> (batch, 2 * channels).
    """
    weights = scores.softmax(1)
    mean, power = (weights * rows).sum(1), (weights * rows.square()).sum(1)
    return torch.cat([mean, (power - mean.square()).clamp(min=VARIANCE_FLOOR).sqrt()], dim=1)


class DictionaryEncoding(nn.Module):
    """Learnable dictionary encoding (Cai et al., arXiv 1804.00385) over the frames of several layers.

    With x_t a concatenated frame, D its size, r_tc = x_t - mu_c and w_tc = softmax over c of -s_c ||r_tc||^2:
    e_c = sum_t w_tc r_tc / sum_t w_tc. The scales s_c = a_c^2 + 1e-8 start at 1/D, since ||r_tc||^2 grows
    with D and would saturate the softmax. Neither x_t nor r_tc is ever formed: ||r||^2 is expanded and e_c is
    a product of matrices, layer by layer; the largest new tensor is w, (batch, components, frames).
    """

    SCALE_FLOOR = 1e-8

    def __init__(self, layer_dims: list[int], components: int) -> None:
        super().__init__()
        self.layer_dims = list(layer_dims)
        size = sum(layer_dims)
        self.mu = nn.Parameter(torch.randn(components, size))  # the scale of the batch-normalised frames
        self.a = nn.Parameter(torch.full((components,), size**-0.5))

    def forward(self, layers: list[Tensor]) -> Tensor:
        """Layers (batch, layer_dims[i], frames), all with the same frames -> (batch, components * D)."""
        weights = (-self.scales() * self.distances(layers)).log_softmax(1)
        weights = weights.softmax(2)  # w / sum_t w, also for a component that no frame is near
        means = torch.cat([weights @ layer.transpose(1, 2) for layer in layers], dim=2)
        return (means - self.mu).flatten(1)

    def scales(self) -> Tensor:
        """s_c, positive: (components, 1)."""
        return (self.a.square() + self.SCALE_FLOOR).unsqueeze(1)

    def distances(self, layers: list[Tensor]) -> Tensor:
        """||x_t - mu_c||^2 as (batch, components, frames)."""
        power = sum(layer.square().sum(1, keepdim=True) for layer in layers)
        cross = sum(mu @ layer for mu, layer in zip(self.mu.split(self.layer_dims, 1), layers, strict=True))
        return power - 2 * cross + self.mu.square().sum(1).unsqueeze(1)

    @torch.no_grad()
    def initialise(self, layers: list[Tensor], iterations: int = 10) -> None:
        """Set mu by k-means over these frames, from frames evenly spaced through the batch.

        Random centres are about equally far from every frame when D is large, and then all weights are equal.
        """
        frames = torch.cat(layers, dim=1).transpose(1, 2).flatten(0, 1)  # (batch * frames, D)
        components = len(self.mu)
        centres = frames[torch.arange(components, device=frames.device) * len(frames) // components]
        for _ in range(iterations):
            nearest = (centres.square().sum(1) - 2 * frames @ centres.T).argmin(1)
            member = torch.nn.functional.one_hot(nearest, components).to(frames.dtype)
            count = member.sum(0).unsqueeze(1)
            centres = torch.where(count > 0, member.T @ frames / count.clamp(min=1), centres)
        self.mu.copy_(centres)
