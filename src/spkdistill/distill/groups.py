"""Groups of an example's classes: their log-masses, and how two posteriors differ between and within them.

A group of logits z is written as z with EMPTY at all other classes. Nothing is ever masked by minus infinity,
and a student's mass is never the difference of two others, so that sums and gradients stay finite where a
group is empty, holds nearly all the mass, or underflows beside another. Sums over classes are in the
precision of the logits, (batch,) results in float64. Gradients are of the student alone.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

UNDERFLOW = 1e-20  # a share of a posterior below which some of its members may be 0 in float32
EMPTY = -1e30  # a log-mass of nothing: finite, as 0 * EMPTY is to be 0; any logit vanishes beside it


class Posterior(NamedTuple):
    """The posterior within a group (batch, classes), and the group's log-mass, float64 (batch,)."""

    values: Tensor
    log_mass: Tensor


def part(logits: Tensor, columns: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """Logits (batch, classes) over T, in float32 or wider, parted into those in some columns and the others.

    Columns int64 (batch, k) -> (batch, k), and (batch, classes) with EMPTY in these columns. The first column
    of a row may come again in it; only its first value has a gradient.
    """
    return _Part.apply(logits, columns, temperature)


def rest(logits: Tensor, members: Tensor) -> Tensor:
    """The logits (batch, classes) with EMPTY in a group, int64 columns (batch, k) or a mask of 1 and 0."""
    if members.dtype == torch.int64:
        return logits.scatter(1, members, EMPTY)
    return torch.add(logits, members, alpha=EMPTY)


def log_mass(logits: Tensor) -> Tensor:
    """log of the sum of exp(z) over dimension 1: float64 (batch,); about EMPTY for an empty group."""
    return _LogMass.apply(logits)


def compare(student: Tensor, teacher: Tensor, posterior: Posterior) -> tuple[Tensor, Tensor]:
    """KL(p || q) of the posteriors p, q of the teacher and the student within a group: float64 (batch,).

    Logits (batch, classes), and p, the teacher's posterior within the group -> the divergence, and the
    student's log-mass. The divergence of an empty group is 0. Where p is 0 the teacher's logit is not used.
    """
    return _Compare.apply(student, teacher, *posterior)


def compare_part(
    student: Tensor, teacher: Tensor, whole: Posterior, mask: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """`compare` within a group that holds the teacher's highest class, and the masses beside it.

    Logits, the teacher's posterior over all classes, and a mask of 1 and 0, (batch, classes) -> the
    divergence within the group, the student's log-masses of it and of the others, and the teacher's of it,
    each float64 (batch,).
    """
    return _ComparePart.apply(student, teacher, *whole, mask)


def divergence(log_p: Tensor, log_q: Tensor, within: Tensor | float = 0.0) -> Tensor:
    """KL(p || q) over the union of groups, from their log-masses (batch, groups), of any scale: (batch,).

    `within` are the divergences inside of the groups; with 0 it is that of the masses alone. The chain rule:
    KL = KL of the masses + the sum over the groups of p_group KL_group.
    """
    log_p, log_q = (functional.log_softmax(masses, dim=1) for masses in (log_p, log_q))
    return (log_p.exp() * (log_p - log_q + within)).sum(1)


def softmax(logits: Tensor) -> Posterior:
    """The posterior over the second dimension.

    The sum of exp(z - max z) is 1 / max p: no pass over the classes of its own.
    """
    values = logits.softmax(1)
    return Posterior(values, logits.amax(1).double() - values.amax(1).double().log())


def gathered(posterior: Posterior, columns: Tensor) -> Posterior:
    """The posterior within columns (batch, k) that hold the highest class; below 0 is no class."""
    values = posterior.values.gather(1, columns).clamp_(min=0)
    share = values.sum(1, keepdim=True)
    return Posterior(values.div_(share), posterior.log_mass + share.squeeze(1).double().log())


def halves(logits: Tensor, mask: Tensor) -> list[tuple[Tensor, Tensor, Tensor]]:
    """The posteriors within a group and its complement times a share, that share, and the log-mass, of both.

    From one softmax, unless one of the two underflows beside the other.
    """
    values, log_mass = softmax(logits)
    inside = values * mask
    found = [(part, part.sum(1).double()) for part in (inside, values.sub_(inside))]
    if min(share.min() for _, share in found) > UNDERFLOW:
        return [(part, share, log_mass + share.log()) for part, share in found]
    apart = softmax(torch.add(logits, 1 - mask, alpha=EMPTY)), softmax(rest(logits, mask))
    return [(part, torch.ones_like(mass), mass) for part, mass in apart]


class _Part(torch.autograd.Function):
    """`part`; the gradient is one pass over the classes."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, columns: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(columns)
        ctx.temperature, ctx.dtype = temperature, logits.dtype
        softened = widen(logits) / temperature
        return softened.gather(1, columns), softened.scatter_(1, columns, EMPTY)

    @staticmethod
    def backward(ctx: Any, inside: Tensor, outside: Tensor) -> tuple[Tensor, None, None]:
        (columns,) = ctx.saved_tensors
        slope = outside / ctx.temperature
        inside = inside / ctx.temperature
        for some in (slice(1, None), slice(1)):  # the first column last, as others may name it too
            slope.scatter_(1, columns[:, some], inside[:, some])
        return slope.to(ctx.dtype), None, None


class _LogMass(torch.autograd.Function):
    """`log_mass`, whose gradient is the posterior."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor) -> Tensor:
        posterior = softmax(logits)
        ctx.save_for_backward(posterior.values)
        return posterior.log_mass

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> Tensor:
        (posterior,) = ctx.saved_tensors
        return posterior * column(slope, posterior)


class _Compare(torch.autograd.Function):
    """`compare`: d KL / dz = q - p and d log-mass / dz = q, z the student's logits."""

    @staticmethod
    def forward(
        ctx: Any, student: Tensor, teacher: Tensor, p: Tensor, mass_p: Tensor
    ) -> tuple[Tensor, Tensor]:
        q, mass_q = softmax(student)
        ctx.save_for_backward(p, q)
        shift = column(mass_p - mass_q, p)
        log_ratio = (teacher - student).sub_(shift)
        rounding = shift.squeeze(1) - (mass_p - mass_q)
        return log_ratio.mul_(p).sum(1).double() + rounding, mass_q

    @staticmethod
    def backward(ctx: Any, of_kl: Tensor, of_mass: Tensor) -> tuple[Tensor, None, None, None]:
        p, q = ctx.saved_tensors
        slope = q * column(of_kl + of_mass, q)
        return slope.addcmul_(p, column(-of_kl, p)), None, None, None


class _ComparePart(torch.autograd.Function):
    """`compare_part`; the posteriors are kept as they are in the whole, and a share divides the slopes."""

    @staticmethod
    def forward(
        ctx: Any, student: Tensor, teacher: Tensor, p: Tensor, mass_p: Tensor, mask: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        (q, share_q, mass_q), (other, share_other, mass_other) = halves(student, mask)
        p = p * mask
        share_p = p.sum(1).double()
        mass_p = mass_p + share_p.log()
        ctx.save_for_backward(p, q, other, share_p, share_q, share_other)
        shift = column(mass_p - mass_q, p)
        log_ratio = (teacher - student).sub_(shift)
        rounding = shift.squeeze(1) - (mass_p - mass_q)
        ctx.mark_non_differentiable(mass_p)
        return log_ratio.mul_(p).sum(1) / share_p + rounding, mass_q, mass_other, mass_p

    @staticmethod
    def backward(ctx: Any, of_kl: Tensor, of_mass: Tensor, of_other: Tensor, _: Tensor) -> tuple:
        p, q, other, share_p, share_q, share_other = ctx.saved_tensors
        slope = q * column((of_kl + of_mass) / share_q, q)
        slope.addcmul_(p, column(-of_kl / share_p, p)).addcmul_(other, column(of_other / share_other, p))
        return slope, None, None, None, None


def widen(values: Tensor) -> Tensor:
    """The same values as float32, or as they are if wider."""
    return values.to(torch.promote_types(values.dtype, torch.float32))


def column(values: Tensor, like: Tensor) -> Tensor:
    """Values (batch,) as a column (batch, 1) of the type of `like`."""
    return values.to(like.dtype).unsqueeze(1)
