"""What a network costs: parameters, and multiply-accumulates for a second of speech."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from spkdistill.models.build import build_head, build_model
from spkdistill.models.shapes import shapes_only
from spkdistill.models.store import blaming, is_foreign, read_network_config
from spkdistill.settings import build

SPEAKERS = 7323  # in VoxCeleb1 + 2, as Kaldi's voxceleb/v2 trains on
FRAME_SHIFT = 10.0  # ms
SECOND = 100  # frames
SPAN = 4  # seconds; their frames are a multiple of every stride
XVECTOR = {"arch": "xvector", "channels": 512, "pooling_channels": 1500, "embedding": 512}
DTDNN = {"channels": 128, "growth": 64, "bottleneck": 128, "blocks": [6, 12], "embedding": 512}
ECAPA = {"arch": "ecapa", "scale": 8, "pooling_channels": 1536, "bottleneck": 128, "embedding": 192}
RESNET = {"arch": "resnet", "channels": 32, "embedding": 256}
SAMRESNET = {"arch": "samresnet", "channels": 64, "attention": 128, "embedding": 256}
RES2NET = {"arch": "res2net", "channels": 32, "blocks": [3, 4, 6, 3], "scale": 2, "embedding": 256}
CAMPLUS = {"channels": 128, "growth": 32, "bottleneck": 128, "blocks": [12, 24, 16], "embedding": 512}
CAMPLUS |= {"arch": "camplus", "map_channels": 32}
REDIMNET = {"arch": "redimnet", "strides": [1, 2, 1, 2, 1, 2], "bottleneck": 128, "embedding": 192}
REDIMNET_B2 = {"channels": 16, "blocks": [2, 2, 3, 4, 4, 4], "expansions": [1] * 6, "kind": "convnext"}
REDIMNET_B2 |= REDIMNET | {"reductions": [12, 12, 12, 8, 8, 4], "group": 4}
REDIMNET_B5 = {"channels": 32, "blocks": [4, 4, 6, 6, 8, 4], "expansions": [2, 2, 2, 1, 1, 1]}
REDIMNET_B5 |= REDIMNET | {"reductions": [48, 48, 48, 32, 24, 16], "kind": "resnet_se", "group": 16}
CONFORMER = {"channels": 256, "blocks": 6, "heads": 4, "hidden": 2048, "kernel": 15, "subsampling": 2}
CONFORMER |= {"arch": "conformer", "bottleneck": 128, "dropout": 0.1, "embedding": 192}
MOBILENET = {"arch": "mobilenet", "channels": 32, "expansion": 6, "embedding": 192}
FC8 = {"arch": "fc8", "channels": 256, "layers": 8}
KALDI_HEAD = {"kind": "softmax", "hidden": 512}
AAM_HEAD = {"kind": "aam", "scale": 32.0, "margin": 0.2}
PUBLISHED = {  # name: (model, features, head), at the sizes of the papers and of Kaldi's recipe
    "xvector": (XVECTOR, 30, KALDI_HEAD),
    "etdnn": (XVECTOR | {"arch": "etdnn"}, 30, KALDI_HEAD),
    "dtdnn": (DTDNN | {"arch": "dtdnn"}, 30, AAM_HEAD),
    "cam++": (CAMPLUS, 80, AAM_HEAD),
    "ecapa, 400 channels": (ECAPA | {"channels": 400}, 80, AAM_HEAD),
    "ecapa, 512 channels": (ECAPA | {"channels": 512}, 80, AAM_HEAD),
    "ecapa, 1024 channels": (ECAPA | {"channels": 1024}, 80, AAM_HEAD),
    "resnet18": (RESNET | {"blocks": [2, 2, 2, 2], "bottleneck": False}, 80, AAM_HEAD),
    "resnet34": (RESNET | {"blocks": [3, 4, 6, 3], "bottleneck": False}, 80, AAM_HEAD),
    "resnet101": (RESNET | {"blocks": [3, 4, 23, 3], "bottleneck": True}, 80, AAM_HEAD),
    "resnet152": (RESNET | {"blocks": [3, 8, 36, 3], "bottleneck": True}, 80, AAM_HEAD),
    "sam-resnet34": (SAMRESNET | {"blocks": [3, 4, 6, 3], "bottleneck": False}, 80, AAM_HEAD),
    "sam-resnet50": (SAMRESNET | {"blocks": [3, 4, 6, 3], "bottleneck": True}, 80, AAM_HEAD),
    "sam-resnet100": (SAMRESNET | {"blocks": [6, 16, 24, 3], "bottleneck": False}, 80, AAM_HEAD),
    "res2net34": (RES2NET, 80, AAM_HEAD),
    "redimnet-b2": (REDIMNET_B2, 72, AAM_HEAD),
    "redimnet-b5": (REDIMNET_B5, 72, AAM_HEAD),
    "conformer": (CONFORMER, 80, AAM_HEAD),
    "mobilenet": (MOBILENET, 80, AAM_HEAD),
    "fc8, one target of 512": (FC8 | {"embedding": 512}, 30, None),
    "fc8, one target of 1500": (FC8 | {"embedding": 1500}, 30, None),
    "fc8, all targets: 3036": (FC8 | {"embedding": 3036}, 30, None),
}
COLUMNS = {
    "model": "model",
    "parameters": "parameters",
    "with_head": "with head",
    "reduction": "smaller",
    "reduction_with_head": "(with head)",
    "bytes": "bytes",
    "macs_per_second": "MACs a second",
    "embedding": "embedding",
}


def published_costs() -> list[dict[str, Any]]:
    """The cost of every architecture at its published size and features."""
    return [cost(name, model, dim, head, SPEAKERS) for name, (model, dim, head) in PUBLISHED.items()]


def trained_cost(config_path: str | Path) -> dict[str, Any]:
    """The cost of a trained network, from its config.json, or what was measured of a foreign one.

    `with_head` counts all that it was trained with, as config.json says: also heads of targets, which are not
    kept. Without `cost` there it counts the head of the classes alone, and frames FRAME_SHIFT apart.
    """
    config, network = read_network_config(config_path)
    with blaming(config_path):
        if is_foreign(network):
            return foreign_cost(str(config_path), build(MeasuredCost, config.get("cost", {}), "cost"))
        speakers = len(network.speakers)
        row = cost(str(config_path), network.model, network.feature_dim, network.head, speakers)
        if "cost" in config:
            size = build(MeasuredCost, config["cost"], "cost")
            row |= {"with_head": size.parameters_with_head, "macs_per_second": size.macs_per_second}
        return row


def cost(
    name: str, model_settings: dict, feature_dim: int, head_settings: dict | None, speakers: int
) -> dict[str, Any]:
    """A row of the table: `reduction` is the share saved of Kaldi's x-vector, without its head or with it."""
    with shapes_only():  # no memory is taken, nothing computed
        model = build_model(model_settings, feature_dim)
        head = build_head(head_settings, model.embedding_dim, speakers) if head_settings else nn.Identity()
        teacher = build_model(XVECTOR, 30)
        teacher_head = build_head(KALDI_HEAD, teacher.embedding_dim, SPEAKERS)
        return {
            "model": name,
            "parameters": parameters(model),
            "with_head": parameters(model) + parameters(head),
            "reduction": 1 - parameters(model) / parameters(teacher),
            "reduction_with_head": 1 - parameters(model) / (parameters(teacher) + parameters(teacher_head)),
            "bytes": weight_bytes(model),
            "macs_per_second": macs_per_second(model),
            "embedding": model.embedding_dim,
        }


@dataclass(frozen=True)
class MeasuredCost:
    """The `cost` of a network's config.json."""

    parameters: int
    parameters_with_head: int
    bytes: int
    macs_per_second: int
    embedding_dim: int


def foreign_cost(name: str, size: MeasuredCost) -> dict[str, Any]:
    """As `cost`, of what cannot be built."""
    teacher = cost(name, XVECTOR, 30, KALDI_HEAD, SPEAKERS)
    return teacher | {
        "parameters": size.parameters,
        "with_head": size.parameters_with_head,
        "reduction": 1 - size.parameters / teacher["parameters"],
        "reduction_with_head": 1 - size.parameters / teacher["with_head"],
        "bytes": size.bytes,
        "macs_per_second": size.macs_per_second,
        "embedding": size.embedding_dim,
    }


def trained_size(model: nn.Module, heads: Iterable[nn.Module], frame_shift: float) -> dict[str, int]:
    """What config.json says of a trained network's size; `heads` are all that it was trained with.

    `frame_shift` is that of its features, in ms.
    """
    bare = parameters(model)
    return {
        "parameters": bare,
        "parameters_with_head": bare + sum(map(parameters, heads)),
        "bytes": weight_bytes(model),
        "macs_per_second": macs_per_second(model.cpu(), frame_shift),
        "embedding_dim": model.embedding_dim,
    }


def parameters(module: nn.Module) -> int:
    """Trained numbers; batch normalisation without affine parameters has none."""
    return sum(parameter.numel() for parameter in module.parameters())


def weight_bytes(module: nn.Module) -> int:
    """Of all that a network's file holds: parameters, and the statistics of batch normalisation."""
    return sum(tensor.numel() * tensor.element_size() for tensor in module.state_dict().values())


def macs_per_second(model: nn.Module, frame_shift: float = FRAME_SHIFT) -> int:
    """Multiply-accumulates of the affine layers and attention for a second of speech and its embedding.

    What frames, `frame_shift` ms apart, cost is that in the midst of an utterance: the mean over SPAN *
    SECOND of them, since attention costs more the longer an utterance is. What follows pooling counts once.
    """
    shortest, longer = (
        torch.zeros(1, model.receptive_field + more, model.feature_dim) for more in (0, SPAN * SECOND)
    )
    with torch.no_grad():
        last = model.eval().frame_layers(shortest)[-1]
        second = (macs(model, longer) - macs(model, shortest)) * FRAME_SHIFT / frame_shift / SPAN
        return int(second) + macs(model.embed, last)


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
