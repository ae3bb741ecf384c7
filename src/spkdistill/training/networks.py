"""Teachers and students: a network, its head, and what a student learns from the cache beside the labels."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from spkdistill.distill.objectives import (
    Embedding,
    Gkd,
    LogitObjective,
    Moment,
    Multilevel,
    Objective,
    Trkd,
    build_objectives,
)
from spkdistill.distill.parts import KNOWN, is_embedding
from spkdistill.distill.targets import TargetReader
from spkdistill.errors import ConfigError, DataError
from spkdistill.models.build import build_head, build_model
from spkdistill.models.cost import FRAME_SHIFT, trained_size
from spkdistill.models.device import arithmetic, prepare
from spkdistill.models.heads import SoftmaxHead, TargetHeads, with_margin
from spkdistill.models.store import save
from spkdistill.seeds import derive_seed
from spkdistill.settings import build
from spkdistill.training import checkpoint, processes
from spkdistill.training.data import Batch, Inputs, Targets, TrainingData
from spkdistill.training.loop import Outputs, train
from spkdistill.training.settings import TrainingSettings, decisive

SAMPLE = 1024  # views whose logits give the last tau


@dataclass(frozen=True)
class NetworkSettings:
    """A teacher or student of a config; `distil` is None for a teacher."""

    features: str
    model: dict
    head: dict
    training: TrainingSettings
    distil: dict | None


def train_network(
    settings: Mapping[str, Any],
    feature_settings: Mapping[str, Any],
    inputs: Inputs,
    targets: Mapping[str, str | Path],
    seed: int,
    name: str,
    work: str | Path,
    outputs: Outputs,
) -> None:
    """Train a teacher, or a student on cached `targets` ({part: scp}); a teacher is never loaded.

    `settings` are those of `NetworkSettings`. Outputs appear when training is complete, and then the
    checkpoints in `work` go.
    """
    chosen = build(NetworkSettings, {"distil": None, **settings}, name)
    training, stage = chosen.training, f"train {name}"
    objectives = build_objectives(chosen.distil or {"objective": "none"}, f"{name}.distil")
    device = prepare(training.threads)
    cached = open_targets(objectives, targets, name, device)
    data = TrainingData(inputs, cached, training.batch_size, training.spec_augment, seed, stage)
    model_settings = dict(chosen.model)
    for objective, target in zip(objectives, cached, strict=True):
        if isinstance(objective, Multilevel) and objective.form == "concat":
            model_settings["embedding"] = sum(target.sizes)
    torch.manual_seed(derive_seed(seed, stage, "weights"))
    task = build_task(model_settings, chosen.head, objectives, data).to(device)

    precision = arithmetic(training.precision, device)
    made_by = [decisive(settings), precision, feature_settings, seed, name]
    identity = checkpoint.identity(made_by, [*inputs, *targets.values()], "training.networks")
    log = train(task, data, training, name, work, identity)
    if processes.rank() > 0:
        return

    provenance = {"name": name, "seed": seed, "views": len(data.views), "training": settings["training"]}
    provenance |= {"precision": precision}
    frame_shift = feature_settings.get("frame_shift", FRAME_SHIFT)
    config = {
        "model": model_settings,
        "feature_dim": data.reader.dim,
        "head": chosen.head if task.head else None,
        "speakers": data.speakers,
        "features": chosen.features,
        "feature_settings": feature_settings,
        "distil": chosen.distil,
        "cost": trained_size(task.model, filter(None, (task.head, task.target_heads)), frame_shift),
        **provenance,
    }
    save(outputs.model, outputs.config, task.model, task.head, config)
    log.write(outputs.log)
    checkpoint.clear(work)


class SpeakerTask(nn.Module):
    """A network with its head and objectives; called with a batch it gives the loss and the terms to log."""

    def __init__(
        self,
        model: nn.Module,
        head: nn.Module | None,
        objectives: Sequence[Objective],
        target_heads: TargetHeads | None = None,
    ) -> None:
        """`head` is None where only embeddings are learnt; without objectives the labels alone are.

        `target_heads` are those of an objective on embeddings that has any. They are not kept: nothing reads
        them once the student is trained.
        """
        super().__init__()
        self.model, self.head, self.objectives, self.target_heads = model, head, objectives, target_heads

    def forward(self, batch: Batch, moment: Moment) -> tuple[Tensor, dict[str, Tensor]]:
        """classification_weight * cross-entropy + the sum over the objectives of weight * objective."""
        embedding = self.model(batch.features)
        loss, terms, logits, plain = 0, {}, None, None
        if self.head is not None:
            logits, plain = classify(self.head, embedding, batch.labels)
            classification = functional.cross_entropy(logits, batch.labels)
            accuracy = (plain.argmax(1) == batch.labels).double().mean()
            loss = classification * classification_weight(self.objectives)
            terms = {"classification": classification, "accuracy": accuracy}
        for objective, target in zip(self.objectives, batch.targets, strict=True):
            if isinstance(objective, LogitObjective):
                student = logits if objective.kd_logits == "margin" else plain
                target = teacher_logits(objective, target, batch.labels)
            else:
                student = self.target_heads(embedding) if self.target_heads else [embedding]
            distillation, parts = objective(student, target, batch.labels, moment)
            loss = loss + objective.weight * distillation
            terms |= parts
        return loss, terms


def classification_weight(objectives: Sequence[Objective]) -> float:
    """The weight of the cross-entropy: the largest that an objective gives it, 1 without any objective."""
    return max((objective.classification_weight for objective in objectives), default=1)


def teacher_logits(objective: LogitObjective, plain: Tensor, labels: Tensor) -> Tensor:
    """The teacher's logits (batch, classes) that an objective compares, from those without a margin."""
    if objective.kd_logits == "plain":
        return plain
    scale, margin = objective.teacher_head.scale, objective.teacher_head.margin
    return scale * with_margin(plain / scale, labels, margin)


def classify(head: nn.Module, embedding: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """A head's logits to train on and its plain ones, (batch, speakers) both.

    Those of a softmax head are the same, and its batch normalisation must see a batch once.
    """
    plain = head.plain(embedding)
    return (plain if isinstance(head, SoftmaxHead) else head(embedding, labels)), plain


def open_targets(
    objectives: Sequence[Objective],
    scps: Mapping[str, str | Path],
    name: str,
    device: torch.device | str = "cpu",
) -> tuple[Targets, ...]:
    """The cached targets of each objective; logits are made on `device`."""
    return tuple(open_target(objective, scps, name, device) for objective in objectives)


def open_target(
    objective: Objective, scps: Mapping[str, str | Path], name: str, device: torch.device | str
) -> Targets:
    """The cached targets of an objective; ConfigError where one is not among the scps."""
    on_logits = isinstance(objective, LogitObjective)
    needed = ("logits",) if on_logits else embeddings_of(objective, name)
    missing = [part for part in needed if part not in scps]
    if missing:
        raise ConfigError(
            f"{name}.distil: {objective.objective} needs the targets {missing[0]}; give their scp"
        )
    if on_logits:
        files = {part: scps[part] for part in ("logits", "head") if part in scps}
        reader = TargetReader(files, False, objective.temperature, device)
        return Targets(reader.logits, [reader.sizes["logits"]], "view", reader.form.kept)
    reader = TargetReader(
        {part: scps[part] for part in needed}, isinstance(objective, Multilevel) and objective.mean_norm
    )
    sizes = list(reader.sizes.values())
    read = reader.batch if isinstance(objective, Multilevel) else partial(reader.gather, *needed)
    return Targets(read, sizes, objective.targets_of)


def embeddings_of(objective: Multilevel | Embedding, name: str) -> tuple[str, ...]:
    """The parts of a target; ConfigError unless they are embeddings, each there once."""
    for part in objective.targets:
        if not is_embedding(part):
            raise ConfigError(f"{name}.distil.targets: {part!r} is not known; choose from {KNOWN}")
    if not objective.targets or len(set(objective.targets)) < len(objective.targets):
        raise ConfigError(f"{name}.distil.targets: expected one part or more, each once")
    if isinstance(objective, Embedding) and len(objective.targets) > 1:
        raise ConfigError(f"{name}.distil.targets: `embedding` learns one; use `multilevel` for several")
    return objective.targets


def build_task(
    model_settings: Mapping[str, Any],
    head_settings: Mapping[str, Any],
    objectives: Sequence[Objective],
    data: TrainingData,
) -> SpeakerTask:
    """Network and heads for the data; there is no head where only embeddings are learnt."""
    model = build_model(model_settings, data.reader.dim)
    shortest = data.views.frames.min()
    if shortest < model.receptive_field:
        arch = model_settings["arch"]
        raise DataError(f"views.tsv: views of {shortest} frames, but {arch} sees {model.receptive_field}")
    fitted = [fit(*pair, data) for pair in zip(objectives, data.targets, strict=True)]
    head, target_heads = None, None
    if classification_weight(fitted) > 0 or any(isinstance(one, LogitObjective) for one in fitted):
        head = build_head(head_settings, model.embedding_dim, len(data.speakers))
    for objective, target in zip(fitted, data.targets, strict=True):
        if has_heads(objective, model.embedding_dim, target.sizes):
            target_heads = TargetHeads(model.embedding_dim, target.sizes)
    return SpeakerTask(model, head, fitted, target_heads)


def has_heads(objective: Objective, embedding_dim: int, sizes: Sequence[int]) -> bool:
    """Whether linear maps, dropped after training, stand between the student's embedding and its targets."""
    if isinstance(objective, Multilevel):
        return objective.form == "heads"
    return isinstance(objective, Embedding) and [embedding_dim] != sizes


def fit(objective: Objective, targets: Targets, data: TrainingData) -> Objective:
    """The objective as it suits the data; DataError or ConfigError where it cannot."""
    speakers = len(data.speakers)
    if not isinstance(objective, LogitObjective):
        return objective
    if targets.sizes != [speakers]:
        found = f"{targets.sizes[0]} logits, but the views have {speakers} speakers"
        raise DataError(f"targets: {found}; dump the targets again")
    if isinstance(objective, Gkd) and objective.size >= speakers:
        raise ConfigError(
            f"gkd.size: {objective.size} of {speakers} speakers; leave some for the other group"
        )
    if not isinstance(objective, Trkd):
        return objective
    objective = replace(objective, kept=targets.kept)
    if objective.tau.end is None:
        sample = np.unique(np.linspace(0, len(data.views) - 1, SAMPLE).astype(int))
        plain = data.read_targets(targets, sample)
        labels = torch.from_numpy(data.labels[sample]).to(plain.device)
        return objective.ending(teacher_logits(objective, plain, labels), labels)
    return objective
