"""The assessment of Triage KD: which non-targets of an example are confusable, by the teacher's posterior."""

import numpy as np
import torch
from torch import Tensor

MASS_UNITS = 2**52  # of a probability of 1
FEW = 8  # a small set is looked for among an 8th of the classes
NARROW = 16  # a set of up to a 16th of them is kept as columns
STRIDE = 16  # every 16th class tells how many have to be sorted


def confusion_set(others: Tensor, wanted: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Members of F and their number (batch,).

    `others` (batch, classes) is the posterior over the non-targets; it is changed at the target. F is the
    shortest beginning of the non-targets, highest posterior first and equal ones by class, whose mass is >=
    `wanted` (batch,): it holds the class that crosses it and is never empty; all of them, if they have less.

    The members are int64 columns (batch, largest number), where a row with fewer ends in its label; or, where
    they are many, a mask of 1 and 0 (batch, classes) in the type of the posterior.
    """
    others.scatter_(1, labels.unsqueeze(1), -1)  # the target comes last
    threshold, count = cutoff(others, (wanted * MASS_UNITS).long().clamp(min=1))  # never empty
    return above(others, threshold, count, labels), count


def highest(others: Tensor, count: int, labels: Tensor) -> Tensor:
    """The `count` most probable non-targets as `confusion_set` gives members."""
    others.scatter_(1, labels.unsqueeze(1), -1)
    threshold = largest(others, count)[:, :1]
    return above(others, threshold, torch.full_like(labels, count), labels)


def cutoff(others: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
    """The lowest posterior in F (batch, 1), and the size of F (batch,); `wanted` is in MASS_UNITS.

    Masses are summed as integers: exact, so whatever the order of summation, the device or the number of
    threads, the same posteriors give the same set. Only as many classes are sorted as it seems to need.
    """
    classes = others.shape[1]
    small = wanted.max() <= 2 * MASS_UNITS // FEW  # an 8th of the classes has an 8th of the mass at least
    for width in (max(1, classes // FEW) if small else likely_width(others, wanted), classes - 1):
        rising = largest(others, width)
        masses = (rising * MASS_UNITS).long().cumsum(1)
        if (masses[:, -1] >= wanted).all():
            break
    spare = masses[:, -1] - wanted  # what may be left out; below 0 nothing
    left_out = torch.searchsorted(masses, spare.unsqueeze(1), right=True)
    return rising.gather(1, left_out), width - left_out.squeeze(1)


def likely_width(others: Tensor, wanted: Tensor) -> int:
    """A number of classes that is likely to hold F in every row, from a sample of the classes."""
    sample = others[:, ::STRIDE]
    masses = (largest(sample, sample.shape[1]).clamp(min=0) * MASS_UNITS).long().cumsum(1)
    spare = (masses[:, -1] * (1 - wanted.double() / MASS_UNITS)).long()
    left_out = torch.searchsorted(masses, spare.unsqueeze(1), right=True)
    needed = max(1, sample.shape[1] - int(left_out.min()))
    return min(round(STRIDE * (needed + 2 * needed**0.5)), others.shape[1] - 1)


def largest(values: Tensor, count: int) -> Tensor:
    """The `count` largest values of each row, rising."""
    if values.is_cuda:
        return values.topk(count, dim=1).values.flip(1)
    array = values.numpy().copy()  # numpy sorts many times as fast as torch on a CPU
    array.partition(-count, axis=1)
    top = array[:, -count:].copy()
    top.sort(axis=1)
    return torch.from_numpy(top)


def above(others: Tensor, threshold: Tensor, count: Tensor, labels: Tensor) -> Tensor:
    """The members whose posterior is at least the threshold, `count` (batch,) of each row."""
    found = at_least(others, threshold)
    if number(found) > int(count.sum()):
        drop_ties(found, others, threshold, count)
    if int(count.max()) * NARROW > others.shape[1]:
        return as_numbers(found, others.dtype)
    return columns(found, count, labels)


def drop_ties(found: Tensor, others: Tensor, threshold: Tensor, count: Tensor) -> None:
    """Take from the classes at the threshold the last ones, until `count` are left."""
    rows = (found.sum(1) - count).nonzero().squeeze(1)
    tied = others[rows] == threshold[rows]
    first = tied.cumsum(1) <= (count[rows] - (others[rows] > threshold[rows]).sum(1)).unsqueeze(1)
    found[rows] &= first | ~tied


def at_least(values: Tensor, threshold: Tensor) -> Tensor:
    """Where values reach their row's threshold (batch, 1): bool."""
    if values.is_cuda:
        return values >= threshold
    return torch.from_numpy(values.numpy() >= threshold.numpy())


def as_numbers(found: Tensor, dtype: torch.dtype) -> Tensor:
    """True and false as 1 and 0."""
    if found.is_cuda:
        return found.to(dtype)
    numbers = torch.empty_like(found, dtype=dtype)
    np.copyto(numbers.numpy(), found.numpy())  # three times as fast as torch
    return numbers


def number(found: Tensor) -> int:
    """How many are true."""
    return int(found.sum()) if found.is_cuda else np.count_nonzero(found.numpy())


def columns(members: Tensor, count: Tensor, labels: Tensor) -> Tensor:
    """A mask (batch, classes) as columns (batch, largest count); a row with fewer ends in its label."""
    if members.is_cuda:
        places = members.flatten().nonzero().squeeze(1)
    else:
        places = torch.from_numpy(np.flatnonzero(members.numpy()))
    wide = labels.unsqueeze(1).repeat(1, int(count.max()))
    used = torch.arange(wide.shape[1], device=wide.device) < count.unsqueeze(1)
    return wide.masked_scatter_(used, places % members.shape[1])
