"""Batch normalisation over the slices of all processes; torch's own SyncBatchNorm refuses a CPU."""

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from spkdistill.training.processes import add_up, gather


def synchronise(module: nn.Module) -> None:
    """Replace every batch normalisation within `module`; names in its state stay as they are."""
    for owner in list(module.modules()):
        for name, child in owner.named_children():
            if isinstance(child, _BatchNorm):
                setattr(owner, name, SynchronisedBatchNorm.like(child))


class SynchronisedBatchNorm(_BatchNorm):
    """Equal to torch's BatchNorm1d or 2d on the slices of all processes side by side."""

    @classmethod
    def like(cls, other: _BatchNorm) -> "SynchronisedBatchNorm":
        """One with the settings, state, device and type of another batch normalisation."""
        made = cls(other.num_features, other.eps, other.momentum, other.affine, other.track_running_stats)
        made.load_state_dict(other.state_dict())
        return made.to(other.running_mean)

    def _check_input_dim(self, input: Tensor) -> None:
        """Take any input (batch, channels, ...)."""

    def forward(self, input: Tensor) -> Tensor:
        """(batch, channels, ...) normalised by channel; moves the running statistics in training."""
        if not self.training:
            return super().forward(input)
        output, mean, variance, count = Normalise.apply(input, self.eps)
        with torch.no_grad():
            self.num_batches_tracked += 1
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * count / (count - 1), self.momentum)
        if self.affine:
            output = output * by_channel(self.weight, output) + by_channel(self.bias, output)
        return output.to(input.dtype)


class Normalise(torch.autograd.Function):
    """y = (x - E[x]) / sqrt(var[x] + eps), moments over all processes' batch and frames."""

    @staticmethod
    def forward(
        ctx: torch.autograd.function.FunctionCtx, input: Tensor, eps: float
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The output, and the mean, variance (biased) and count behind it.

        Moments of slices are put together as in Chan, Golub and LeVeque (1979), sound where |mean| >> std.
        """
        wide, channels = widened(input), input.shape[1]
        variance, mean = torch.var_mean(wide, others(input), correction=0)
        here = mean.new_tensor([input.numel() / channels])
        means, variances, counts = gather(torch.cat([mean, variance, here])).split(
            [channels, channels, 1], dim=1
        )
        count = counts.sum()
        shares = counts / count
        mean = (shares * means).sum(0)
        variance = (shares * (variances + (means - mean).square())).sum(0)
        inverse = (variance + eps).rsqrt()
        ctx.save_for_backward(input, mean, inverse, count)
        ctx.mark_non_differentiable(mean, variance, count)
        output = (wide - by_channel(mean, wide)) * by_channel(inverse, wide)
        return output.to(input.dtype), mean, variance, count

    @staticmethod
    def backward(
        ctx: torch.autograd.function.FunctionCtx, grad: Tensor, *of_statistics: Tensor
    ) -> tuple[Tensor, None]:
        """dx = (dy - E[dy] - y E[y dy]) / sqrt(var[x] + eps) (Ioffe and Szegedy, arXiv 1502.03167)."""
        input, mean, inverse, count = ctx.saved_tensors
        wide = widened(grad)
        scale = by_channel(inverse, wide)
        normal = (widened(input) - by_channel(mean, wide)) * scale
        sums = torch.cat([wide.sum(others(wide)), (wide * normal).sum(others(wide))])
        shift, slope = (add_up(sums) / count).chunk(2)
        dx = (wide - by_channel(shift, wide) - normal * by_channel(slope, wide)) * scale
        return dx.to(input.dtype), None


def widened(tensor: Tensor) -> Tensor:
    """The same values as float32, or as they are if wider."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


def others(tensor: Tensor) -> list[int]:
    """The dimensions of (batch, channels, ...) but the channels."""
    return [dim for dim in range(tensor.dim()) if dim != 1]


def by_channel(vector: Tensor, like: Tensor) -> Tensor:
    """(channels,) in a shape that goes with (batch, channels, ...)."""
    return vector.view(-1, *[1] * (like.dim() - 2))
