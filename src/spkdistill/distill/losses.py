"""Distillation losses, each a free function of the student's and the teacher's outputs.

Notation: target class y, temperature T, p = softmax(teacher / T), q = softmax(student / T). Divergences are
KL(teacher || student), averaged over the batch, and times T^2 so that gradients keep their size, but those in
`Triage`. Logits may be float16 or bfloat16: everything is computed in float32 or wider.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from spkdistill.distill.groups import (
    EMPTY,
    Posterior,
    compare,
    compare_part,
    divergence,
    gathered,
    log_mass,
    part,
    rest,
    softmax,
    widen,
)
from spkdistill.distill.partition import confusion_set, highest

STANDARDISE_EPSILON = 1e-7  # of the reference implementation
CORRELATION_EPSILON = 1e-16  # keeps slopes finite; the reference's 1e-8 is a percent of a rare class's norms


class Triage(NamedTuple):
    """The three groups target, confusion set F, background B of each example, all in float64.

    KL(p || q) = KL(masses) + p_F within_confusion + p_B within_background.
    """

    log_p: Tensor  # (batch, 3), log-masses of the teacher, which sum to 1
    log_q: Tensor  # (batch, 3), log-masses of the student, of any scale
    within_confusion: Tensor  # (batch,), KL(p^F || q^F)
    within_background: Tensor | None  # (batch,), KL(p^B || q^B); None where it was not asked for
    size: Tensor  # (batch,), classes in F

    def tmkd(self) -> Tensor:
        """KL([p_y, p_F, p_B] || [q_y, q_F, q_B]): (batch,)."""
        return divergence(self.log_p, self.log_q)

    def tckd(self) -> Tensor:
        """KL([p_y, 1 - p_y] || [q_y, 1 - q_y]): (batch,)."""
        return divergence(*(target_and_others(masses) for masses in (self.log_p, self.log_q)))

    def nckd(self) -> Tensor:
        """KL(p || q) over the non-targets, renormalised: (batch,)."""
        within = torch.stack([self.within_confusion, self.within_background], 1)
        return divergence(self.log_p[:, 1:], self.log_q[:, 1:], within)


def target_and_others(masses: Tensor) -> Tensor:
    """The log-masses (batch, 3) of the groups as those of the target and of all other classes, (batch, 2)."""
    return torch.stack([masses[:, 0], masses[:, 1:].logsumexp(1)], 1)


def kd(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """T^2 KL(p || q) (Hinton et al. 2015); logits (batch, classes)."""
    softened = soften(teacher, temperature)
    kl, _ = compare(soften(student, temperature), softened, softmax(softened))
    return temperature**2 * kl.mean()


def dkd(student: Tensor, teacher: Tensor, labels: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """T^2 TCKD and T^2 NCKD of decoupled distillation (CVPR 2022); logits (batch, classes), labels (batch,).

    TCKD = KL([p_y, 1 - p_y] || [q_y, 1 - q_y]); NCKD = KL(p || q) over the non-targets, renormalised, so that
    KL(p || q) = TCKD + (1 - p_y) NCKD.
    """
    groups = triage(student, teacher, labels, temperature, tau=1.0)
    return temperature**2 * groups.tmkd().mean(), temperature**2 * groups.within_confusion.mean()


def gkd(
    student: Tensor, teacher: Tensor, labels: Tensor, temperature: float, size: int
) -> tuple[Tensor, Tensor]:
    """T^2 times the two terms of grouped distillation (arXiv 2304.04462) without its third.

    The groups of that paper come from the cumulative probability; here, as where Triage KD is compared with
    it, their size is fixed: P is the target and the size - 1 most probable others, S the rest. The terms are
    KL([p_P, p_S] || [q_P, q_S]), and KL(p || q) over P, renormalised. Logits (batch, classes), labels
    (batch,).
    """
    own_p, others_p = split_target(teacher, labels, temperature)
    posterior = softmax(others_p)
    members = highest(posterior.values, size - 1, labels)
    own_q, mass_q, outside_q, within, mass_p = compare_members(
        student, others_p, posterior, labels, members, temperature
    )
    inside_q, inside_p = torch.stack([own_q, mass_q], 1), torch.stack([own_p, mass_p], 1)
    outside_p = log_mass(rest(others_p, members))
    primary = divergence(
        torch.stack([inside_p.logsumexp(1), outside_p], 1), torch.stack([inside_q.logsumexp(1), outside_q], 1)
    )
    inner = divergence(inside_p, inside_q, torch.stack([torch.zeros_like(within), within], 1))
    return temperature**2 * primary.mean(), temperature**2 * inner.mean()


def triage(
    student: Tensor,
    teacher: Tensor,
    labels: Tensor,
    temperature: float,
    tau: float,
    mass: str = "renormalised",
    background: bool = False,
) -> Triage:
    """Masses and divergences of the groups (arXiv 2601.14699); logits (batch, classes), labels (batch,).

    F is the shortest beginning of the non-targets, most probable first, whose sum of p_j / (1 - p_y) (mass
    "renormalised") or of p_j ("absolute") is >= tau. Which mass is meant and that the class that crosses tau
    is in F is our reading. tau >= 1 means every non-target: then TMKD is TCKD, and CFKD is NCKD. What happens
    within the background is found where `background` asks for it.
    """
    own_p, others_p = split_target(teacher, labels, temperature)
    whole = softmax(others_p)
    if tau >= 1:
        return undivided(student, labels, temperature, own_p, others_p, whole)
    wanted = torch.full_like(own_p, tau)
    if mass == "absolute":
        share = 1 + (own_p - whole.log_mass).exp()  # 1 / (1 - p_y)
        wanted = (wanted * share).clamp(max=2)  # over 1 is all
    members, size = confusion_set(whole.values, wanted, labels)
    own_q, mass_q, rest_q, within, mass_p = compare_members(
        student, others_p, whole, labels, members, temperature
    )
    if background:
        _, others_q = split_target(student, labels, temperature)
        far_p = rest(others_p, members)
        background_p = softmax(far_p)
        rest_p = background_p.log_mass
        within_background, rest_q = compare(rest(others_q, members), far_p, background_p)
    else:
        within_background = None
        rest_p = background_mass(whole.log_mass, mass_p).masked_fill(size == teacher.shape[1] - 1, EMPTY)
    log_q = torch.stack([own_q, mass_q, rest_q], 1)
    return Triage(normalised(own_p, mass_p, rest_p), log_q, within, within_background, size)


def undivided(
    student: Tensor, labels: Tensor, temperature: float, own_p: Tensor, others_p: Tensor, whole: Posterior
) -> Triage:
    """`triage` with every non-target in F, from the teacher's target, others, and posterior over them."""
    own_q, others_q = split_target(student, labels, temperature)
    within, mass_q = compare(others_q, others_p, whole)
    nothing = torch.full_like(mass_q, EMPTY)
    log_q = torch.stack([own_q, mass_q, nothing], 1)
    size = torch.full_like(labels, student.shape[1] - 1)
    log_p = normalised(own_p, whole.log_mass, nothing)
    return Triage(log_p, log_q, within, torch.zeros_like(within), size)


def background_mass(others: Tensor, confusion: Tensor) -> Tensor:
    """The teacher's log-mass of the background, from those of all non-targets and of F: (batch,).

    A difference, as it has no gradient, and where it is lost to rounding it is nothing to learn.
    """
    left = -torch.expm1((confusion - others).clamp(max=0))
    return torch.where(left > 0, others + left.log(), EMPTY)


def normalised(target: Tensor, confusion: Tensor, background: Tensor) -> Tensor:
    """The groups' log-masses (batch,) as those of a posterior, (batch, 3)."""
    return functional.log_softmax(torch.stack([target, confusion, background], 1), dim=1)


def truncated(groups: Triage, teacher: Tensor, labels: Tensor, temperature: float, kept: int) -> Tensor:
    """The mass that is looked into but is not that of the `kept` largest non-targets: (batch,).

    Looked into is F, and the background where `triage` was asked for what happens in it. For logits (batch,
    classes) from a cache of the largest, where all others are equal, and the lowest.
    """
    everything = torch.full_like(groups.size, teacher.shape[1] - 1)
    reach = groups.size if groups.within_background is None else everything
    target = labels.unsqueeze(1)
    above_lowest = teacher.gather(1, target) - teacher.scatter(1, target, torch.inf).amin(1, keepdim=True)
    lowest = (groups.log_p[:, 0] - above_lowest.squeeze(1).double() / temperature).exp()
    return (reach - kept).clamp(min=0) * lowest


def dist(student: Tensor, teacher: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """T^2 times the two terms of DIST (arXiv 2205.10536); logits (batch, classes).

    1 - the mean over the examples of Pearson's correlation of p_i and q_i, and 1 - the mean over the classes
    of that of p_:c and q_:c, over this process's share of the batch. T^2 is of its reference implementation.
    """
    q, p = (soften(logits, temperature).softmax(1) for logits in (student, teacher))
    inter, intra = (1 - pearson(q, p, dim).mean() for dim in (1, 0))
    return temperature**2 * inter, temperature**2 * intra


def pearson(one: Tensor, other: Tensor, dim: int) -> Tensor:
    """Pearson's correlation along a dimension; 0 where either does not vary."""
    one, other = (values - values.mean(dim, keepdim=True) for values in (one, other))
    return (one * other).sum(dim) / (one.norm(dim=dim) * other.norm(dim=dim) + CORRELATION_EPSILON)


def cosine_distance(student: Tensor, target: Tensor) -> Tensor:
    """1 - cos(student, target), (batch, dim) both (arXiv 2303.01125)."""
    return 1 - functional.cosine_similarity(widen(student), widen(target), dim=1).mean()


def squared_distance(student: Tensor, target: Tensor) -> Tensor:
    """The mean squared difference of (batch, dim) and (batch, dim)."""
    return functional.mse_loss(widen(student), widen(target))


def standardised(logits: Tensor) -> Tensor:
    """(z - mean z) / (std z + 1e-7) over the classes (logit standardisation, CVPR 2024); (batch, classes)."""
    centred = widen(logits) - widen(logits).mean(1, keepdim=True)
    variance = centred.square().sum(1, keepdim=True) / (logits.shape[1] - 1)
    floor = torch.finfo(variance.dtype).tiny  # keeps the slope of the root finite
    return centred / (variance.clamp(min=floor).sqrt() + STANDARDISE_EPSILON)


def split_target(logits: Tensor, labels: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """The target's logit over T, float64 (batch,), and all over T with EMPTY at the target."""
    own, others = part(logits, labels.unsqueeze(1), temperature)
    return own.squeeze(1).double(), others


def compare_members(
    student: Tensor,
    others_p: Tensor,
    whole_p: Posterior,
    labels: Tensor,
    members: Tensor,
    temperature: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """The student's log-masses of target, F and background, KL(p^F || q^F), the teacher's log-mass of F.

    From the student's logits, the teacher's over T without the target, their posterior, and members as
    `confusion_set` gives them: float64 (batch,).
    """
    if members.dtype != torch.int64:
        own, others = split_target(student, labels, temperature)
        within, mass_q, rest_q, mass_p = compare_part(others, others_p, whole_p, members)
        return own, mass_q, rest_q, within, mass_p
    label = labels.unsqueeze(1)
    inside, far = part(student, torch.cat([label, members], 1), temperature)
    near = inside[:, 1:].masked_fill(members == label, EMPTY)
    near_p = gathered(whole_p, members)
    within, mass_q = compare(near, others_p.gather(1, members), near_p)
    return inside[:, 0].double(), mass_q, log_mass(far), within, near_p.log_mass


def soften(logits: Tensor, temperature: float) -> Tensor:
    """Logits over T, in float32 or wider."""
    return widen(logits) / temperature
