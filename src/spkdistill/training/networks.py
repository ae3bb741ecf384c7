"""Teachers and students: a network, its head, and what a student learns from the cache beside the labels."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from spkdistill.distill.objectives import Moment, Multilevel, Objective, build_objective
from spkdistill.distill.parts import KNOWN, is_embedding
from spkdistill.distill.targets import TargetReader
from spkdistill.errors import ConfigError, DataError
from spkdistill.models.build import build_head, build_model
from spkdistill.models.cost import trained_size
from spkdistill.models.device import prepare
from spkdistill.models.heads import SoftmaxHead, TargetHeads
from spkdistill.models.store import save
from spkdistill.seeds import derive_seed
from spkdistill.settings import build
from spkdistill.training import checkpoint, processes
from spkdistill.training.data import Batch, Inputs, Targets, TrainingData
from spkdistill.training.loop import Outputs, train
from spkdistill.training.settings import TrainingSettings, decisive


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
    objective = build_objective(chosen.distil or {"objective": "none"}, f"{name}.distil")
    device = prepare(training.threads)
    cached = open_targets(objective, targets, name)
    data = TrainingData(inputs, cached, training.batch_size, training.spec_augment, seed, stage)
    model_settings = dict(chosen.model)
    if isinstance(objective, Multilevel) and objective.form == "concat":
        model_settings["embedding"] = sum(cached.sizes)
    torch.manual_seed(derive_seed(seed, stage, "weights"))
    task = build_task(model_settings, chosen.head, objective, data).to(device)

    made_by = [decisive(settings), feature_settings, seed, name]
    identity = checkpoint.identity(made_by, [*inputs, *targets.values()], "training.networks")
    log = train(task, data, training, name, work, identity)
    if processes.rank() > 0:
        return

    provenance = {"name": name, "seed": seed, "views": len(data.views), "training": settings["training"]}
    config = {
        "model": model_settings,
        "feature_dim": data.reader.dim,
        "head": chosen.head if task.head else None,
        "speakers": data.speakers,
        "features": chosen.features,
        "feature_settings": feature_settings,
        "distil": chosen.distil,
        "cost": trained_size(task.model, filter(None, (task.head, task.target_heads))),
        **provenance,
    }
    save(outputs.model, outputs.config, task.model, task.head, config)
    log.write(outputs.log)
    checkpoint.clear(work)


class SpeakerTask(nn.Module):
    """A network with its head and objective; called with a batch it gives the loss and the terms to log."""

    def __init__(
        self,
        model: nn.Module,
        head: nn.Module | None,
        objective: Objective | None,
        target_heads: TargetHeads | None = None,
    ) -> None:
        """`head` is None where only the objective trains; `objective` is None where only the labels do.

        `target_heads` are those of a multi-level objective that has any. They are not kept: nothing reads
        them once the student is trained.
        """
        super().__init__()
        self.model, self.head, self.objective, self.target_heads = model, head, objective, target_heads

    def forward(self, batch: Batch, moment: Moment) -> tuple[Tensor, dict[str, Tensor]]:
        """classification_weight * cross-entropy + weight * objective."""
        embedding = self.model(batch.features)
        loss, terms, plain = 0, {}, None
        if self.head is not None:
            logits, plain = classify(self.head, embedding, batch.labels)
            classification = functional.cross_entropy(logits, batch.labels)
            accuracy = (plain.argmax(1) == batch.labels).double().mean()
            loss = classification * (1 if self.objective is None else self.objective.classification_weight)
            terms = {"classification": classification, "accuracy": accuracy}
        if self.objective is not None:
            student = plain
            if isinstance(self.objective, Multilevel):
                student = self.target_heads(embedding) if self.target_heads else [embedding]
            distillation, parts = self.objective(student, batch.targets, batch.labels, moment)
            loss = loss + self.objective.weight * distillation
            terms |= parts
        return loss, terms


def classify(head: nn.Module, embedding: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """A head's logits to train on and its plain ones, (batch, speakers) both.

    Those of a softmax head are the same, and its batch normalisation must see a batch once.
    """
    plain = head.plain(embedding)
    return (plain if isinstance(head, SoftmaxHead) else head(embedding, labels)), plain


def open_targets(objective: Objective | None, scps: Mapping[str, str | Path], name: str) -> Targets | None:
    """The cached targets of an objective; None where it has none."""
    if objective is None:
        return None
    multilevel = isinstance(objective, Multilevel)
    needed = embeddings_of(objective, name) if multilevel else ("logits",)
    missing = [part for part in needed if part not in scps]
    if missing:
        raise ConfigError(
            f"{name}.distil: {objective.objective} needs the targets {missing[0]}; give their scp"
        )
    reader = TargetReader({part: scps[part] for part in needed}, multilevel and objective.mean_norm)
    if multilevel:
        return Targets(reader.batch, list(reader.sizes.values()), objective.targets_of)
    return Targets(reader.logits, list(reader.sizes.values()), "view")


def embeddings_of(objective: Multilevel, name: str) -> tuple[str, ...]:
    """The parts of a multi-level target; ConfigError unless they are embeddings, each there once."""
    for part in objective.targets:
        if not is_embedding(part):
            raise ConfigError(f"{name}.distil.targets: {part!r} is not known; choose from {KNOWN}")
    if not objective.targets or len(set(objective.targets)) < len(objective.targets):
        raise ConfigError(f"{name}.distil.targets: expected one part or more, each once")
    return objective.targets


def build_task(
    model_settings: Mapping[str, Any],
    head_settings: Mapping[str, Any],
    objective: Objective | None,
    data: TrainingData,
) -> SpeakerTask:
    """Network and heads for the data; there is no head where only a multi-level objective trains."""
    model = build_model(model_settings, data.reader.dim)
    shortest = data.views.frames.min()
    if shortest < model.receptive_field:
        arch = model_settings["arch"]
        raise DataError(f"views.tsv: views of {shortest} frames, but {arch} sees {model.receptive_field}")
    head, target_heads, speakers = None, None, len(data.speakers)
    if not isinstance(objective, Multilevel) or objective.classification_weight > 0:
        head = build_head(head_settings, model.embedding_dim, speakers)
    if isinstance(objective, Multilevel):
        if objective.form == "heads":
            target_heads = TargetHeads(model.embedding_dim, data.targets.sizes)
    elif objective is not None and data.targets.sizes != [speakers]:
        found = f"{data.targets.sizes[0]} logits, but the views have {speakers} speakers"
        raise DataError(f"targets: {found}; dump the targets again")
    return SpeakerTask(model, head, objective, target_heads)
