"""What a student learns beside the labels: the settings of each objective, and its loss from a batch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from spkdistill.distill.curriculum import TauSettings, ending_at, tau_at, tau_settings
from spkdistill.distill.losses import (
    cosine_distance,
    dist,
    dkd,
    gkd,
    kd,
    split_target,
    squared_distance,
    standardised,
    triage,
    truncated,
)
from spkdistill.distill.partition import largest
from spkdistill.errors import ConfigError
from spkdistill.models.heads import AamSettings
from spkdistill.settings import build

ROUNDING = 1e-9  # of a sum of posteriors, so that the class which brings it up to tau is not missed

Terms = dict[str, Tensor]
Result = tuple[Tensor, Terms]


@dataclass(frozen=True)
class Moment:
    """Where a training stands: epochs done (a fraction too), and the share of the whole training (0 to 1)."""

    epoch: float
    fraction: float


@dataclass(frozen=True)
class LogitObjective:
    """What objectives on logits have in common; called with logits (batch, classes), gives loss and terms."""

    objective: str
    temperature: float
    weight: float
    classification_weight: float
    warmup_epochs: float  # W of min(epoch / W, 1), the loss's weight; 0 is no warm-up
    kd_logits: str  # "plain", or "margin": those of both networks have the margin on the label
    teacher_head: AamSettings | None  # no choice of its own: the teacher's, for kd_logits "margin"; else None

    def __call__(self, student: Tensor, teacher: Tensor, labels: Tensor, moment: Moment) -> Result:
        """The loss, warmed up as in DKD's reference implementation, and its terms for the log."""
        loss, terms = self.loss(student, teacher, labels, moment)
        return warmup(moment, self.warmup_epochs) * loss, terms


@dataclass(frozen=True)
class Kd(LogitObjective):
    """Settings of `kd`."""

    standardise: bool

    def loss(self, student: Tensor, teacher: Tensor, labels: Tensor, moment: Moment) -> Result:
        """KD."""
        if self.standardise:
            student, teacher = standardised(student), standardised(teacher)
        loss = kd(student, teacher, self.temperature)
        return loss, {"kd": loss}


@dataclass(frozen=True)
class Dkd(LogitObjective):
    """Settings of `dkd`."""

    standardise: bool
    alpha: float
    beta: float

    def loss(self, student: Tensor, teacher: Tensor, labels: Tensor, moment: Moment) -> Result:
        """Alpha TCKD + beta NCKD."""
        if self.standardise:
            student, teacher = standardised(student), standardised(teacher)
        tckd, nckd = dkd(student, teacher, labels, self.temperature)
        return self.alpha * tckd + self.beta * nckd, {"tckd": tckd, "nckd": nckd}


@dataclass(frozen=True)
class Nte(LogitObjective):
    """Settings of `nte`, non-target emphasis (arXiv 2309.14838)."""

    gamma: float

    def loss(self, student: Tensor, teacher: Tensor, labels: Tensor, moment: Moment) -> Result:
        """TCKD + gamma NCKD."""
        tckd, nckd = dkd(student, teacher, labels, self.temperature)
        return tckd + self.gamma * nckd, {"tckd": tckd, "nckd": nckd}


@dataclass(frozen=True)
class Gkd(LogitObjective):
    """Settings of `gkd`."""

    size: int  # classes in P, the target among them
    alpha: float
    beta: float

    def loss(self, student: Tensor, teacher: Tensor, labels: Tensor, moment: Moment) -> Result:
        """Alpha times the primary term, of the masses of P and S, + beta times that within P."""
        primary, inner = gkd(student, teacher, labels, self.temperature, self.size)
        return self.alpha * primary + self.beta * inner, {"group_masses": primary, "within_group": inner}


@dataclass(frozen=True)
class Dist(LogitObjective):
    """Settings of `dist`; its T and weights of 1 are our choice, where Triage KD's paper is silent."""

    beta: float
    gamma: float

    def loss(self, student: Tensor, teacher: Tensor, labels: Tensor, moment: Moment) -> Result:
        """Beta times the term of the examples + gamma times that of the classes."""
        inter, intra = dist(student, teacher, self.temperature)
        return self.beta * inter + self.gamma * intra, {"inter_class": inter, "intra_class": intra}


@dataclass(frozen=True)
class Trkd(LogitObjective):
    """Settings of `trkd`.

    Our reading where the paper is silent: the divergences are KL(teacher || student), of posteriors softened
    by T, in which the set is chosen too, with the class that crosses tau; tau is a share of the mass of the
    non-targets (`mass`); the terms count T^2 times (`t_squared`), from the first step (`warmup_epochs` 0);
    logits are without the heads' margin (`kd_logits`).

    The paper's ablation: `mass_term` "tckd" and `class_term` "nckd" are DKD; with one of them it is TRKD with
    that term of DKD in place of its own.
    """

    mass_term: str  # "tmkd" or "tckd", of weight lambda_m
    class_term: str  # "cfkd" or "nckd", of weight lambda_f
    lambda_m: float
    lambda_f: float
    lambda_b: float  # of BGKD, which the paper drops
    tau: TauSettings
    mass: str  # "renormalised" or "absolute"
    t_squared: bool
    kept: int | None  # how many non-targets have logits of their own in the teacher's cache; None for all

    def loss(self, student: Tensor, teacher: Tensor, labels: Tensor, moment: Moment) -> Result:
        """lambda_m TMKD + lambda_f CFKD + lambda_b BGKD; their terms, and the sizes of the partition."""
        tau = tau_at(moment.epoch if self.tau.unit == "epochs" else moment.fraction, self.tau)
        background = self.lambda_b > 0 or self.class_term == "nckd"
        groups = triage(student, teacher, labels, self.temperature, tau, self.mass, background)
        terms = {
            self.mass_term: groups.tmkd() if self.mass_term == "tmkd" else groups.tckd(),
            self.class_term: groups.within_confusion if self.class_term == "cfkd" else groups.nckd(),
        }
        if self.lambda_b > 0:
            terms["bgkd"] = groups.within_background
        scale = self.temperature**2 if self.t_squared else 1.0
        terms = {name: scale * values.mean() for name, values in terms.items()}
        weights = {self.mass_term: self.lambda_m, self.class_term: self.lambda_f, "bgkd": self.lambda_b}
        loss = sum(weights[name] * term for name, term in terms.items())
        p_target, p_confusion, p_background = groups.log_p.exp().mean(0)
        if self.kept is not None:
            terms["p_truncated"] = truncated(groups, teacher, labels, self.temperature, self.kept).mean()
        return loss, terms | {
            "tau": torch.tensor(tau, device=loss.device),
            "confusion_size": groups.size.double().mean(),
            "p_target": p_target,
            "p_confusion": p_confusion,
            "p_background": p_background,
        }

    def ending(self, teacher: Tensor, labels: Tensor) -> "Trkd":
        """The same settings with the last tau known, from a sample of the teacher's logits (views, classes).

        It is the median over the views of the mass of the `classes` most probable non-targets, so that half
        of the views have a set of no more (our reading).
        """
        others = teacher.shape[1] - 1
        size = self.tau.classes or max(1, round(self.tau.share * others))
        if size >= others:
            raise ConfigError(
                f"tau.end: {size} classes of {others} non-targets; leave some for the background"
            )
        if self.kept is not None and size > self.kept:
            raise ConfigError(
                f"tau.end: {size} classes, but the cache has the {self.kept} largest others of a view; give "
                "its teacher a larger logits.k, or the form factored or dense"
            )
        own, rest = split_target(teacher, labels, self.temperature)
        ordered = largest(rest.softmax(1), size).double()
        mass = ordered.sum(1)
        if self.mass == "absolute":
            mass = mass * rest.double().logsumexp(1).sub(own).sigmoid()
        return replace(self, tau=ending_at(mass.median().item() * (1 - ROUNDING), self.tau))


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
        distances = [cosine_distance(*pair) for pair in zip(outputs, pieces, strict=True)]
        loss = sum(distances) / len(distances)
        terms = {"cosine_distance": loss}
        if self.form == "heads":
            terms |= dict(zip((f"{part}_distance" for part in self.targets), distances, strict=True))
        return loss, terms


@dataclass(frozen=True)
class Embedding:
    """Settings of `embedding`: the teacher's embedding as it was dumped, by its direction or its values.

    Where it has another size than the student's, a linear map of the student's embedding, which is dropped
    after training, is compared with it.
    """

    objective: str
    weight: float
    classification_weight: float
    targets: tuple[str, ...]  # one part
    targets_of: str
    distance: str  # "cosine" or "mse"

    def __call__(self, outputs: Sequence[Tensor], target: Tensor, labels: Tensor, moment: Moment) -> Result:
        """The loss from the student's one output and the target, (batch, dim) both, and its term."""
        distance = {"cosine": cosine_distance, "mse": squared_distance}[self.distance]
        loss = distance(*outputs, target)
        return loss, {f"embedding_{self.distance}": loss}


Objective = Kd | Dkd | Nte | Gkd | Dist | Trkd | Multilevel | Embedding
OBJECTIVES = {
    "kd": Kd,
    "dkd": Dkd,
    "nte": Nte,
    "gkd": Gkd,
    "dist": Dist,
    "trkd": Trkd,
    "multilevel": Multilevel,
    "embedding": Embedding,
}
CHOICES = {
    "targets_of": ("view", "utterance"),
    "form": ("concat", "heads"),
    "distance": ("cosine", "mse"),
    "kd_logits": ("plain", "margin"),
    "mass": ("renormalised", "absolute"),
    "mass_term": ("tmkd", "tckd"),
    "class_term": ("cfkd", "nckd"),
}


def build_objectives(distil: Mapping[str, Any], where: str) -> tuple[Objective, ...]:
    """The objectives whose losses a student's `distil` settings add up: none for "none", those of a "sum"."""
    if distil.get("objective") == "none":
        return ()
    if distil.get("objective") != "sum":
        return (build_objective(distil, where),)
    return tuple(build_objective(one, f"{where}.of.{place}") for place, one in enumerate(distil["of"]))


def build_objective(distil: Mapping[str, Any], where: str) -> Objective:
    """The objective of settings that name one."""
    name = distil.get("objective")
    if name not in OBJECTIVES:
        known = ", ".join(OBJECTIVES)
        raise ConfigError(f"{where}.objective: {name!r} is unknown; known are none, sum, {known}")
    kind = OBJECTIVES[name]
    if issubclass(kind, LogitObjective):
        distil = {**distil, "teacher_head": teacher_margin(distil, where)}
    if kind is Trkd:
        distil = {"kept": None, **distil, "tau": tau_settings(distil.get("tau", {}))}
    for key, known in CHOICES.items():
        if key in kind.__dataclass_fields__ and distil.get(key) not in known:
            raise ConfigError(f"{where}.{key}: expected {' or '.join(known)}, found {distil.get(key)!r}")
    return build(kind, distil, where)


def teacher_margin(distil: Mapping[str, Any], where: str) -> dict[str, Any] | None:
    """Scale and margin of the teacher's head, where logits have its margin; ConfigError without them."""
    if distil.get("kd_logits") != "margin":
        return None
    head = distil.get("teacher_head")
    if not isinstance(head, Mapping) or head.get("kind") != "aam":
        raise ConfigError(
            f"{where}.kd_logits: margin needs the teacher's aam head in teacher_head, not {head!r}"
        )
    return {key: value for key, value in head.items() if key != "kind"}


def warmup(moment: Moment, epochs: float) -> float:
    """The weight min(epoch / W, 1), 1 where W is 0 (DKD's reference implementation)."""
    return 1.0 if epochs == 0 else min(moment.epoch / epochs, 1.0)
