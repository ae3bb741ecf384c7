"""The parts of a teacher's cache by name; without torch, which neither checking nor planning needs."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

AGGREGATED = ("sp_aggr", "lde_aggr")
EMBEDDINGS = ("xvector", "narrow_bn", "wide_bn", *AGGREGATED)
PARTS = (*EMBEDDINGS, "logits")
LAYER = re.compile(r"layer:([1-9]\d{0,2})", re.ASCII)
EMBEDDING_OPTIONS = ("targets", "mean_norm", "targets_of", "form")  # of an objective: columns of a table
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


def unit_of(distil: Mapping[str, Any]) -> str:
    """What the targets that a student of these settings learns are of: "view" or "utterance"."""
    return distil.get("targets_of", "view")


def cached(config: Mapping[str, Any], teacher: str, unit: str) -> list[str]:
    """The parts of a teacher's cache: what its `targets` list, of views, and what its students learn."""
    listed = config["teachers"][teacher]["targets"] if unit == "view" else []
    learners = (one["distil"] for one in config["students"].values() if one["teacher"] == teacher)
    wanted = (part for distil in learners if unit_of(distil) == unit for part in learnt(distil))
    return list(dict.fromkeys([*listed, *wanted]))


def is_factored(config: Mapping[str, Any], teacher: str) -> bool:
    """Whether a teacher's logits are cached as its head alone; a file has none."""
    return config["teachers"][teacher].get("logits", {}).get("form") == "factored"


def stored(config: Mapping[str, Any], teacher: str, parts: Sequence[str]) -> list[str]:
    """The parts that have archives: of factored logits those of the embedding."""
    factored = is_factored(config, teacher)
    return ["xvector" if factored and part == "logits" else part for part in parts]


def temperatures(config: Mapping[str, Any], teacher: str) -> list[float]:
    """At which a cache of the largest logits keeps the mass of the others: its students' and those listed."""
    learners = (one["distil"] for one in config["students"].values() if one["teacher"] == teacher)
    learnt_at = (one["temperature"] for distil in learners for one in on_logits(distil))
    listed = config["teachers"][teacher]["logits"]["temperatures"]
    return sorted({float(temperature) for temperature in (*listed, *learnt_at)})
