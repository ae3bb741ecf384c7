"""What a network costs: parameters, and multiply-accumulates for a second of speech."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from spkdistill.errors import ConfigError
from spkdistill.models.build import build_head, build_model
from spkdistill.models.store import blaming, read_network_config

SPEAKERS = 7323  # in VoxCeleb1 + 2, as Kaldi's voxceleb/v2 trains on
SECOND = 100  # frames
MOST = 50_000_000  # parameters of a network that is built to be measured
XVECTOR = {"arch": "xvector", "channels": 512, "pooling_channels": 1500, "embedding": 512}
FC8 = {"arch": "fc8", "channels": 256, "layers": 8}
KALDI_HEAD = {"kind": "softmax", "hidden": 512}
PUBLISHED = {  # name: (model, head), at the sizes of Kaldi's recipe and of arXiv 2303.01125
    "xvector": (XVECTOR, KALDI_HEAD),
    "fc8, one target of 512": (FC8 | {"embedding": 512}, None),
    "fc8, one target of 1500": (FC8 | {"embedding": 1500}, None),
    "fc8, all targets: 3036": (FC8 | {"embedding": 3036}, None),
}
COLUMNS = {
    "model": "model",
    "parameters": "parameters",
    "with_head": "with head",
    "smaller": "smaller",
    "smaller_than_headless": "(no teacher head)",
    "macs_per_second": "MACs a second",
    "embedding": "embedding",
}


def published_costs() -> list[dict[str, Any]]:
    """The cost of every architecture at its published size, on 30 MFCCs."""
    return [cost(name, model, 30, head, SPEAKERS) for name, (model, head) in PUBLISHED.items()]


def trained_cost(config_path: str | Path) -> dict[str, Any]:
    """The cost of a trained network, from its config.json."""
    _, network = read_network_config(config_path)
    with blaming(config_path):
        speakers = len(network.speakers)
        return cost(str(config_path), network.model, network.feature_dim, network.head, speakers)


def cost(
    name: str, model_settings: dict, feature_dim: int, head_settings: dict | None, speakers: int
) -> dict[str, Any]:
    """A row of the table: `smaller` is the share saved of Kaldi's x-vector with, or without, its head."""
    with torch.device("meta"):
        size = parameters(build_model(model_settings, feature_dim))
    if size > MOST:
        raise ConfigError(f"model: {size} parameters, over the limit of {MOST}; correct its sizes")
    model = build_model(model_settings, feature_dim)
    with torch.device("meta"):
        head = build_head(head_settings, model.embedding_dim, speakers) if head_settings else nn.Identity()
        teacher = build_model(XVECTOR, 30)
        teacher_head = build_head(KALDI_HEAD, teacher.embedding_dim, SPEAKERS)
    return {
        "model": name,
        "parameters": parameters(model),
        "with_head": parameters(model) + parameters(head),
        "smaller": 1 - parameters(model) / (parameters(teacher) + parameters(teacher_head)),
        "smaller_than_headless": 1 - parameters(model) / parameters(teacher),
        "macs_per_second": macs_per_second(model),
        "embedding": model.embedding_dim,
    }


def trained_size(model: nn.Module, heads: Iterable[nn.Module]) -> dict[str, int]:
    """What config.json says of a trained network's size; `heads` are all that it was trained with."""
    bare = parameters(model)
    return {
        "parameters": bare,
        "parameters_with_head": bare + sum(map(parameters, heads)),
        "macs_per_second": macs_per_second(model.cpu()),
        "embedding_dim": model.embedding_dim,
    }


def parameters(module: nn.Module) -> int:
    """Trained numbers; batch normalisation without affine parameters has none."""
    return sum(parameter.numel() for parameter in module.parameters())


def macs_per_second(model: nn.Module) -> int:
    """Multiply-accumulates of the affine layers for a second of speech and its embedding.

    Frame-level layers count 100 frames, as in the midst of an utterance; what follows pooling counts once.
    """
    shortest, longer = (
        torch.zeros(1, model.receptive_field + more, model.feature_dim) for more in (0, SECOND)
    )
    with torch.no_grad():
        last = model.eval().frame_layers(shortest)[-1]
        frames = macs(model.frame_layers, longer) - macs(model.frame_layers, shortest)
        return frames + macs(model.embed, last)


def macs(compute: Callable[[Tensor], Any], inputs: Tensor) -> int:
    """Multiply-accumulates of the convolutions and matrix products that run in `compute(inputs)`."""
    with FlopCounterMode(display=False) as counter:
        compute(inputs)
    return counter.get_total_flops() // 2


def table(rows: list[dict[str, Any]]) -> str:
    """The rows as aligned text."""
    cells = [list(COLUMNS.values())] + [[text(row[name]) for name in COLUMNS] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [[row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])] for row in cells]
    return "\n".join(map("  ".join, lines))


def text(value: str | float | int) -> str:
    """A share as a percentage, a count with thousands separated."""
    if isinstance(value, float):
        return f"{value:.1%}"
    return f"{value:,}" if isinstance(value, int) else value
