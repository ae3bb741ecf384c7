"""Groups of an example's classes: their log-masses, and how two posteriors differ between and within them.

A group of logits z is written as z with EMPTY at all other classes. Nothing is ever masked by minus infinity,
and a mass is never the difference of two others, so that sums and gradients stay finite where a group is
empty, holds nearly all the mass, or underflows beside another. Sums over classes are in the precision of the
logits, (batch,) results in float64. Gradients are of the student alone.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

EMPTY = -1e30  # a log-mass of nothing: finite, as 0 * EMPTY is to be 0; any logit vanishes beside it


def part(logits: Tensor, columns: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """Logits (batch, classes) over T, in float32 or wider, parted into those in some columns and the others.

    Columns int64 (batch, k) -> (batch, k), and (batch, classes) with EMPTY in these columns. The first column
    of a row may come again in it; only its first value has a gradient.
    """
    return _Part.apply(logits, columns, temperature)


def group(logits: Tensor, members: Tensor) -> Tensor:
    """The logits (batch, classes) of a group: (batch, k) of its columns, or by a mask with EMPTY elsewhere.

    `members` are int64 columns (batch, k), or a mask of 1 and 0 of the logits' type and shape.
    """
    if members.dtype == torch.int64:
        return logits.gather(1, members)
    return torch.add(logits, 1 - members, alpha=EMPTY)


def some(logits: Tensor, members: Tensor) -> Tensor:
    """Logits among which those of the group are: (batch, k) of its columns, or by a mask all (batch, classes)."""
    return logits.gather(1, members) if members.dtype == torch.int64 else logits


def rest(logits: Tensor, members: Tensor) -> Tensor:
    """The logits (batch, classes) with EMPTY in a group."""
    if members.dtype == torch.int64:
        return logits.scatter(1, members, EMPTY)
    return torch.add(logits, members, alpha=EMPTY)


def log_mass(logits: Tensor) -> Tensor:
    """log of the sum of exp(z) over dimension 1: float64 (batch,); about EMPTY for an empty group."""
    return _LogMass.apply(logits)


def compare(student: Tensor, teacher: Tensor, posterior: "Posterior") -> tuple[Tensor, Tensor]:
    """KL(p || q) of the posteriors p, q of the teacher and the student within a group: float64 (batch,).

    Logits (batch, classes), and p, the teacher's posterior within the group -> the divergence, and the
    student's log-mass. The divergence of an empty group is 0. Where p is 0 the teacher's logit is not used.
    """
    return _Compare.apply(student, teacher, *posterior)


def divergence(log_p: Tensor, log_q: Tensor, within: Tensor | float = 0.0) -> Tensor:
    """KL(p || q) over the union of groups, from their log-masses (batch, groups), of any scale: (batch,).

    `within` are the divergences inside of the groups; with 0 it is that of the masses alone. The chain rule:
    KL = KL of the masses + the sum over the groups of p_group KL_group.
    """
    log_p, log_q = (functional.log_softmax(masses, dim=1) for masses in (log_p, log_q))
    return (log_p.exp() * (log_p - log_q + within)).sum(1)


class Posterior(NamedTuple):
    """The posterior within a group (batch, classes), and the group's log-mass, float64 (batch,)."""

    values: Tensor
    log_mass: Tensor


def softmax(logits: Tensor) -> Posterior:
    """The posterior over the second dimension.

    The sum of exp(z - max z) is 1 / max p: no pass over the classes of its own.
    """
    values = logits.softmax(1)
    return Posterior(values, logits.amax(1).double() - values.amax(1).double().log())


def restricted(posterior: Posterior, members: Tensor) -> Posterior:
    """The posterior within a group that holds the highest class, from that over all classes.

    A value below 0 marks a class that is none.
    """
    if members.dtype == torch.int64:
        values = posterior.values.gather(1, members).clamp_(min=0)
    else:
        values = posterior.values * members
    share = values.sum(1, keepdim=True)
    return Posterior(values.div_(share), posterior.log_mass + share.squeeze(1).double().log())


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
    def forward(ctx: Any, student: Tensor, teacher: Tensor, p: Tensor, mass_p: Tensor) -> tuple[Tensor, Tensor]:
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


def widen(values: Tensor) -> Tensor:
    """The same values as float32, or as they are if wider."""
    return values.to(torch.promote_types(values.dtype, torch.float32))


def column(values: Tensor, like: Tensor) -> Tensor:
    """Values (batch,) as a column (batch, 1) of the type of `like`."""
    return values.to(like.dtype).unsqueeze(1)
