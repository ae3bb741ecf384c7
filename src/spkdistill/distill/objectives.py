"""Distillation losses, each a free function of the student's and the teacher's outputs.

Notation: target class y, temperature T, p = softmax(teacher / T), q = softmax(student / T). Divergences are
KL(teacher || student), times T^2 so that gradients keep their size, averaged over the batch. Logits may be
float16 or bfloat16: everything is computed from log-posteriors in float32 or wider.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from spkdistill.distill.curriculum import TauSettings, tau_at, tau_keys
from spkdistill.errors import ConfigError
from spkdistill.settings import build

Terms = dict[str, Tensor]
Result = tuple[Tensor, Terms]
MASS_UNITS = 2**52  # of a probability of 1


@dataclass(frozen=True)
class Moment:
    """Where a training stands: epochs done (a fraction too), and the share of the whole training (0 to 1)."""

    epoch: float
    fraction: float


@dataclass(frozen=True)
class Kd:
    """Settings of `kd`; the loss is min(epoch / W, 1) KD."""

    objective: str
    temperature: float
    weight: float
    classification_weight: float
    warmup_epochs: float  # W; 0 is no warm-up

    def __call__(self, student: Tensor, teacher: Tensor, labels: Tensor, moment: Moment) -> Result:
        """The loss from plain logits (batch, classes), and its terms for the log."""
        loss = kd(student, teacher, self.temperature)
        return warmup(moment, self.warmup_epochs) * loss, {"kd": loss}


@dataclass(frozen=True)
class Dkd:
    """Settings of `dkd`; the loss is min(epoch / W, 1) (alpha TCKD + beta NCKD)."""

    objective: str
    temperature: float
    weight: float
    classification_weight: float
    warmup_epochs: float
    alpha: float
    beta: float

    def __call__(self, student: Tensor, teacher: Tensor, labels: Tensor, moment: Moment) -> Result:
        """The loss from plain logits (batch, classes), and its terms for the log."""
        tckd, nckd = dkd(student, teacher, labels, self.temperature)
        loss = warmup(moment, self.warmup_epochs) * (self.alpha * tckd + self.beta * nckd)
        return loss, {"tckd": tckd, "nckd": nckd}


@dataclass(frozen=True)
class Trkd:
    """Settings of `trkd`; the loss is min(epoch / W, 1) (lambda_m TMKD + lambda_f CFKD)."""

    objective: str
    temperature: float
    weight: float
    classification_weight: float
    warmup_epochs: float
    lambda_m: float
    lambda_f: float
    tau: TauSettings
    mass: str  # "renormalised" or "absolute"

    def __call__(self, student: Tensor, teacher: Tensor, labels: Tensor, moment: Moment) -> Result:
        """The loss from plain logits (batch, classes), its terms and the partition's sizes for the log."""
        tau = tau_at(moment.fraction, self.tau)
        tmkd, cfkd, sizes = trkd(student, teacher, labels, self.temperature, tau, self.mass)
        loss = warmup(moment, self.warmup_epochs) * (self.lambda_m * tmkd + self.lambda_f * cfkd)
        return loss, {"tmkd": tmkd, "cfkd": cfkd, "tau": torch.tensor(tau, device=loss.device), **sizes}


@dataclass(frozen=True)
class Multilevel:
    """Settings of `multilevel`: which of the teacher's embeddings are targets, and how they are learnt.

    `form` "concat": the student's embedding is to be like all targets side by side. "heads": a linear head
    for each target, of equal weight, reads the embedding, and is dropped after training (our reading).
    """

    objective: str
    weight: float
    classification_weight: float
    targets: tuple[str, ...]
    mean_norm: bool
    targets_of: str  # "view", or "utterance": the teacher's answer for the whole of it
    form: str

    def __call__(self, outputs: Sequence[Tensor], target: Tensor, labels: Tensor, moment: Moment) -> Result:
        """The loss from the student's outputs for the columns of target (batch, dim), and its terms."""
        pieces = target.split([output.shape[1] for output in outputs], dim=1)
        distances = [multilevel(*pair) for pair in zip(outputs, pieces, strict=True)]
        loss = sum(distances) / len(distances)
        terms = {"cosine_distance": loss}
        if self.form == "heads":
            terms |= dict(zip((f"{part}_distance" for part in self.targets), distances, strict=True))
        return loss, terms


Objective = Kd | Dkd | Trkd | Multilevel
MULTILEVEL_CHOICES = {"targets_of": ("view", "utterance"), "form": ("concat", "heads")}
OBJECTIVES = {"kd": Kd, "dkd": Dkd, "trkd": Trkd, "multilevel": Multilevel}


def build_objective(distil: Mapping[str, Any], where: str) -> Objective | None:
    """The objective of a student's `distil` settings; None for "none"."""
    name = distil.get("objective")
    if name == "none":
        return None
    if name not in OBJECTIVES:
        raise ConfigError(f"{where}.objective: {name!r} is unknown; known are none, {', '.join(OBJECTIVES)}")
    if name == "trkd":
        if distil.get("mass") not in ("renormalised", "absolute"):
            raise ConfigError(
                f"{where}.mass: expected renormalised or absolute, found {distil.get('mass')!r}"
            )
        distil = {**distil, "tau": tau_keys(distil.get("tau", {}))}
    if name == "multilevel":
        for key, known in MULTILEVEL_CHOICES.items():
            if distil.get(key) not in known:
                raise ConfigError(f"{where}.{key}: expected {' or '.join(known)}, found {distil.get(key)!r}")
    return build(OBJECTIVES[name], distil, where)


def kd(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """T^2 KL(p || q) (Hinton et al. 2015); logits (batch, classes)."""
    log_p, log_q = log_posterior(teacher, temperature), log_posterior(student, temperature)
    return temperature**2 * divergence(log_p, log_q).mean()


def dkd(student: Tensor, teacher: Tensor, labels: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """T^2 TCKD and T^2 NCKD of decoupled distillation (CVPR 2022); logits (batch, classes), labels (batch,).

    TCKD = KL([p_y, 1 - p_y] || [q_y, 1 - q_y]); NCKD = KL(p || q) over the non-targets, renormalised, so that
    KL(p || q) = TCKD + (1 - p_y) NCKD.
    """
    log_p, log_q = log_posterior(teacher, temperature), log_posterior(student, temperature)
    target = target_mask(labels, log_p)
    tckd = mass_divergence(log_p, log_q, [target, ~target])
    nckd = group_divergence(log_p, log_q, ~target)
    return temperature**2 * tckd.mean(), temperature**2 * nckd.mean()


def trkd(
    student: Tensor, teacher: Tensor, labels: Tensor, temperature: float, tau: float, mass: str
) -> tuple[Tensor, Tensor, Terms]:
    """T^2 L_TMKD, T^2 L_CFKD and the sizes of the partition (arXiv 2601.14699); logits (batch, classes).

    The teacher's posterior splits the non-targets into the confusion set F and the background B, see
    `confusion_set`. TMKD = KL([p_y, p_F, p_B] || [q_y, q_F, q_B]); CFKD = KL(p || q) over F, renormalised.
    KL(p || q) = TMKD + p_F CFKD + p_B BGKD, whose last term is dropped. T^2 is our reading, from DKD's
    reference implementation.
    """
    log_p, log_q = log_posterior(teacher, temperature), log_posterior(student, temperature)
    target = target_mask(labels, log_p)
    confusion = confusion_set(log_p, target, tau, mass)
    background = ~(target | confusion)
    three_mass = mass_divergence(log_p, log_q, [target, confusion, background])
    within = group_divergence(log_p, log_q, confusion)
    p = log_p.exp()
    sizes = {
        "confusion_size": confusion.sum(1).to(p.dtype).mean(),
        "p_target": (p * target).sum(1).mean(),
        "p_confusion": (p * confusion).sum(1).mean(),
        "p_background": (p * background).sum(1).mean(),
    }
    return temperature**2 * three_mass.mean(), temperature**2 * within.mean(), sizes


def multilevel(student: Tensor, target: Tensor) -> Tensor:
    """1 - cos(student, target), (batch, dim) both (arXiv 2303.01125)."""
    return 1 - functional.cosine_similarity(widen(student), widen(target), dim=1).mean()


def warmup(moment: Moment, epochs: float) -> float:
    """The weight min(epoch / W, 1), 1 where W is 0 (DKD's reference implementation)."""
    return 1.0 if epochs == 0 else min(moment.epoch / epochs, 1.0)


def confusion_set(log_p: Tensor, target: Tensor, tau: float, mass: str) -> Tensor:
    """Members of F, bool (batch, classes): the most probable non-targets whose mass reaches tau.

    The non-targets are sorted by p_j / (1 - p_y) (mass "renormalised") or p_j ("absolute"), highest first,
    equal ones by class; F is the shortest beginning whose sum is >= tau, so it holds the class that crosses
    tau and is never empty. tau >= 1 means every non-target, which is DKD. Which mass is meant and where the
    crossing class goes is our reading.
    """
    if tau >= 1:
        return ~target
    others = log_p.masked_fill(target, -torch.inf)
    posterior = (log_softmax(others) if mass == "renormalised" else others).exp()
    ordered, order = posterior.sort(dim=1, descending=True, stable=True)
    parts = (ordered.double() * MASS_UNITS).long()  # summed as integers: exact, and deterministic on CUDA
    before = parts.cumsum(1) - parts  # the mass that comes earlier
    before[:, 0] = -1
    return torch.zeros_like(target).scatter(1, order, before < tau * MASS_UNITS) & ~target


def mass_divergence(log_p: Tensor, log_q: Tensor, groups: list[Tensor]) -> Tensor:
    """KL between the masses that p and q give to disjoint groups (each bool (batch, classes)): (batch,).

    An empty group adds nothing.
    """
    total = torch.zeros_like(log_p[:, 0])
    for group in groups:
        empty = ~group.any(1)
        members = group | empty[:, None]  # log of an empty sum would be -inf, and its gradient NaN
        log_p_mass, log_q_mass = log_mass(log_p, members), log_mass(log_q, members)
        total = total + (log_p_mass.exp() * (log_p_mass - log_q_mass)).masked_fill(empty, 0)
    return total


def group_divergence(log_p: Tensor, log_q: Tensor, group: Tensor) -> Tensor:
    """KL(p || q) over the members of a group, both renormalised within it: (batch,)."""
    inside_p = log_softmax(log_p.masked_fill(~group, -torch.inf))
    inside_q = log_softmax(log_q.masked_fill(~group, -torch.inf))
    return (inside_p.exp() * (inside_p - inside_q).masked_fill(~group, 0)).sum(1)


def divergence(log_p: Tensor, log_q: Tensor) -> Tensor:
    """KL(p || q): (batch,)."""
    return (log_p.exp() * (log_p - log_q)).sum(1)


def log_mass(log_p: Tensor, members: Tensor) -> Tensor:
    """log of the sum of p over the members: (batch,)."""
    return log_p.masked_fill(~members, -torch.inf).logsumexp(1)


def target_mask(labels: Tensor, log_p: Tensor) -> Tensor:
    """True at each example's target: bool (batch, classes)."""
    return functional.one_hot(labels, log_p.shape[1]).bool()


def log_posterior(logits: Tensor, temperature: float) -> Tensor:
    """log softmax(logits / T) over the classes, in float32 or wider."""
    return log_softmax(widen(logits) / temperature)


def log_softmax(values: Tensor) -> Tensor:
    """Log-posteriors over the second dimension."""
    return functional.log_softmax(values, dim=1)


def widen(values: Tensor) -> Tensor:
    """The same values as float32, or as they are if wider."""
    return values.to(torch.promote_types(values.dtype, torch.float32))
