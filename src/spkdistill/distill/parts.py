"""The parts of a teacher's cache by name; without torch, which neither checking nor planning needs."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

AGGREGATED = ("sp_aggr", "lde_aggr")
EMBEDDINGS = ("xvector", "narrow_bn", "wide_bn", *AGGREGATED)
PARTS = (*EMBEDDINGS, "logits")
LAYER = re.compile(r"layer:([1-9]\d{0,2})", re.ASCII)
EMBEDDING_OPTIONS = (
    "targets",
    "mean_norm",
    "targets_of",
    "form",
)  # of an objective; a table has a column for each
KNOWN = f"{', '.join(EMBEDDINGS)}, layer:N"  # what a student can regress


FRAME_LAYERS = {  # of each architecture; of the others as many as their settings say
    **dict.fromkeys(("resnet", "samresnet", "res2net"), 6),
    "xvector": 5,
    "etdnn": 10,
    "dtdnn": 3,
    "ecapa": 5,
    "camplus": 4,
    "mobilenet": 9,
}


def frame_layers(model: Mapping[str, Any]) -> int:
    """How many frame layers a network of these settings has."""
    arch = model["arch"]
    if arch == "conformer":
        return model["blocks"] + 2
    if arch == "redimnet":
        return len(model["strides"]) + 2
    return model["layers"] if arch == "fc8" else FRAME_LAYERS[arch]


def lacks(model: Mapping[str, Any], part: str) -> str | None:
    """Why a teacher of these settings has no such part; None if it has."""
    if part in ("narrow_bn", "wide_bn") and model["arch"] == "fc8":
        return f"{model['arch']} has no layer called {part}; name one as layer:N"
    layers = frame_layers(model)
    if (layer_of(part) or 0) > layers:
        return f"{part}: {model['arch']} has {layers} frame layers"
    return None


def is_part(name: str) -> bool:
    """Whether a teacher may have a part called that: one of PARTS, or the N-th frame layer as `layer:N`."""
    return name in PARTS or layer_of(name) is not None


def is_embedding(name: str) -> bool:
    """Whether it is a part that a student can regress: any but the logits."""
    return name != "logits" and is_part(name)


def layer_of(part: str) -> int | None:
    """N of `layer:N`, from 1; None for the other parts."""
    found = LAYER.fullmatch(part)
    return int(found[1]) if found else None


def learnt(distil: Mapping[str, Any]) -> Sequence[str]:
    """The parts that a student of these `distil` settings learns from."""
    return list(dict.fromkeys(part for one in summed(distil) for part in one.get("targets", ["logits"])))


def summed(distil: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """The objectives whose losses these settings add up: none for "none", those of a "sum", or themselves."""
    return {"none": [], "sum": distil.get("of")}.get(distil["objective"], [distil])


def on_logits(distil: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """The objectives of a student of these settings that learn from logits."""
    return [one for one in summed(distil) if "targets" not in one]


def file_name(part: str) -> str:
    """What the files of a part are called: `layer:3` lies in layer_3.scp."""
    return part.replace(":", "_")


def part_of(name: str) -> str:
    """The part whose files are called `name`."""
    return name.replace("layer_", "layer:")
