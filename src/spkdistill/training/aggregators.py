"""Aggregators, trained on a frozen teacher's frame layers with heads of their own, which are thrown away."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from spkdistill.distill.objectives import Moment
from spkdistill.errors import DataError
from spkdistill.models.aggregators import AggregatorSettings, aggregated, build_aggregators
from spkdistill.models.build import build_head
from spkdistill.models.device import arithmetic, prepare
from spkdistill.models.store import load, save_aggregators
from spkdistill.seeds import derive_seed
from spkdistill.settings import build
from spkdistill.training import checkpoint, processes
from spkdistill.training.data import Batch, Inputs, TrainingData
from spkdistill.training.loop import Outputs, train
from spkdistill.training.networks import classify
from spkdistill.training.settings import TrainingSettings, decisive


@dataclass(frozen=True)
class AggregatorTraining:
    """The `aggregators` of a teacher in a config."""

    embedding: int
    components: int
    head: dict
    training: TrainingSettings


def train_aggregators(
    teacher: tuple[str | Path, str | Path],
    settings: Mapping[str, Any],
    inputs: Inputs,
    seed: int,
    work: str | Path,
    outputs: Outputs,
) -> None:
    """Train all aggregators of a teacher (model and config) side by side, one pass of the teacher for all.

    Outputs appear when training is complete, and then the checkpoints in `work` go.
    """
    chosen = build(AggregatorTraining, settings, "aggregators")
    training, sizes = chosen.training, AggregatorSettings(chosen.embedding, chosen.components)
    device = prepare(training.threads)
    model, _, _ = load(*teacher)
    model = model.to(device).requires_grad_(False)
    data = TrainingData(inputs, (), training.batch_size, training.spec_augment, seed, "aggregators")
    if data.reader.dim != model.feature_dim or data.views.frames.min() < model.receptive_field:
        raise DataError(
            f"{inputs.features}: features or views do not fit {teacher[1]}; train the teacher again"
        )

    torch.manual_seed(derive_seed(seed, "aggregators", "weights"))
    aggregators = build_aggregators(sizes, aggregated(model, model.layer_dims))
    heads = {name: build_head(chosen.head, sizes.embedding, len(data.speakers)) for name in aggregators}
    task = AggregatorTask(model, aggregators, nn.ModuleDict(heads)).to(device)
    task.initialise(data.batch(0).to(device))
    precision = arithmetic(training.precision, device)
    made_by = [decisive(settings), precision, seed]
    identity = checkpoint.identity(made_by, [*teacher, *inputs], "training.aggregators")
    log = train(task, data, training, "aggregators", work, identity)
    if processes.rank() > 0:
        return

    config = {
        "aggregators": {"embedding": sizes.embedding, "components": sizes.components},
        "head": chosen.head,
        "training": settings["training"],
        "precision": precision,
        "seed": seed,
        "views": len(data.views),
    }
    save_aggregators(outputs.model, outputs.config, aggregators, config)
    log.write(outputs.log)
    checkpoint.clear(work)


class AggregatorTask(nn.Module):
    """Aggregators and heads over a frozen teacher, which is no submodule: it stays in eval mode, unsaved."""

    def __init__(self, teacher: nn.Module, aggregators: nn.ModuleDict, heads: nn.ModuleDict) -> None:
        super().__init__()
        self.frame_layers = lambda features: aggregated(teacher, teacher.frame_layers(features))
        self.aggregators, self.heads = aggregators, heads

    def initialise(self, batch: Batch) -> None:
        """Start the LDE dictionary from the frames of a batch."""
        with torch.no_grad():
            self.aggregators["lde_aggr"].initialise(self.frame_layers(batch.features))

    def forward(self, batch: Batch, moment: Moment) -> tuple[Tensor, dict[str, Tensor]]:
        """The sum of the cross-entropies; the aggregators share nothing but the norm of a `gradient_clip`."""
        with torch.no_grad():
            layers = self.frame_layers(batch.features)
        loss, terms = 0, {}
        for name, aggregator in self.aggregators.items():
            logits, plain = classify(self.heads[name], aggregator(layers), batch.labels)
            terms[f"{name}_classification"] = functional.cross_entropy(logits, batch.labels)
            terms[f"{name}_accuracy"] = (plain.argmax(1) == batch.labels).double().mean()
            loss = loss + terms[f"{name}_classification"]
        return loss, terms
