"""The disk that each artifact of workflow/configs/voxceleb.yaml needs, from frames, dimensions and bytes.

`python -m benchmarks.scale.disk`
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import yaml
from benchmarks.scale.synthetic import COPIES, SECONDS, SPEAKERS, UTTERANCES
from benchmarks.timing import report

from spkdistill.arks.objects import encode
from spkdistill.config import resolve

ROOT = Path(__file__).parents[2]
EVAL_UTTERANCES, EVAL_SECONDS = 153_516, 8.2  # VoxCeleb1
TRIALS = 37_611 + 579_818 + 550_894  # its cleaned lists O, E and H
ID, PATH = 30, 60  # bytes of an id with the name of a copy, of a path in an index
SCORE = 2 * 29 + 12  # bytes of a line `enrol test score`


class Artifact(NamedTuple):
    """One kind of artifact: how many there are, and the bytes of one."""

    name: str
    count: int
    size: int


def main() -> None:
    """A row for each kind of artifact."""
    config = yaml.safe_load((ROOT / "workflow/configs/voxceleb.yaml").read_text(encoding="utf-8"))
    found = list(artifacts(resolve(config, ROOT / "workflow/schemas/config.schema.yaml")))
    rows = [[name, count, size, gigabytes(count * size)] for name, count, size in found]
    rows.append(["all of it", "", "", gigabytes(sum(count * size for _, count, size in found))])
    audio = UTTERANCES * len(COPIES) * round(SECONDS * 32_000)
    rows.append(["the training set's audio, 16 bit, outside of the run", "", "", gigabytes(audio)])
    report("scale-disk", ["artifact", "entries", "bytes of one", "GB"], rows)


def artifacts(config: dict[str, Any]) -> Iterator[Artifact]:
    """What lies in results/<run>/, models, logs and the report left out; no frame is taken for silence."""
    train, views = UTTERANCES * len(COPIES), UTTERANCES * len(COPIES) * config["views"]["per_utterance"]
    sets = {"train": (train, SECONDS), "eval": (EVAL_UTTERANCES, EVAL_SECONDS)}
    for name, (utterances, seconds) in sets.items():
        frames = round(100 * seconds)
        yield Artifact(f"data/{name}", utterances, 5 * ID + PATH + 40)
        for features, settings in config["features"].items():
            dim = settings["num_ceps"] if settings["kind"] == "mfcc" else settings["num_mel_bins"]
            for stage in ("raw", "voiced"):
                size = entry((frames, dim), settings["compression"])
                yield Artifact(f"feats/{features}/{name}/{stage}", utterances, size)
        yield Artifact(f"vad/{name}", utterances, entry((frames,)))
    yield Artifact("views/train", views, 3 * ID + 20)
    for teacher, settings in config["teachers"].items():
        for part in settings["targets"]:
            if part == "logits" and settings["logits"]["form"] == "factored":
                head = 4 * SPEAKERS * target_dims(settings)["xvector"]
                yield Artifact(f"targets/{teacher}/train/head", 1, head)
            else:
                yield Artifact(f"targets/{teacher}/train/{part}", views, target_entry(settings, part))
    models = config["teachers"] | config["students"]
    for name, (utterances, _) in sets.items():
        size = sum(entry((embedding_dim(config, model),)) for model in models.values())
        yield Artifact(f"embeddings/<{len(models)} models>/{name}", utterances, size)
    lists = len(models) * len(config["backends"])
    yield Artifact(f"scores/<{lists} models and back-ends>", TRIALS, lists * SCORE)


def entry(shape: tuple[int, ...], compression: str = "none") -> int:
    """The bytes of an archive's entry, its key, and its lines in the indexes of its shard and of all."""
    content = len(encode(np.zeros(shape, dtype=np.float32), compression))
    return content + ID + 2 * (ID + PATH)


def target_entry(teacher: dict[str, Any], part: str) -> int:
    """The bytes of an entry of a part of the cache; the largest logits are kept for one temperature."""
    if part == "logits" and teacher["logits"]["form"] == "topk":
        return entry((2, teacher["logits"]["k"] + 3))
    dim = target_dims(teacher)[part]
    return entry((1, dim), "two-byte-auto") if teacher["target_storage"] == "two-byte" else entry((dim,))


def target_dims(teacher: dict[str, Any]) -> dict[str, int]:
    """The size of each part of the cache."""
    model, aggregated = teacher["model"], teacher["aggregators"]["embedding"]
    return {
        "xvector": model["embedding"],
        "narrow_bn": model["channels"],
        "wide_bn": model["pooling_channels"],
        "sp_aggr": aggregated,
        "lde_aggr": aggregated,
        "logits": SPEAKERS,
    }


def embedding_dim(config: dict[str, Any], model: dict[str, Any]) -> int:
    """The size of a model's embedding: that of its targets where it is to be like them."""
    distil = model.get("distil", {})
    if distil.get("form") != "concat":
        return model["model"]["embedding"]
    dims = target_dims(config["teachers"][model["teacher"]])
    return sum(dims[part] for part in distil["targets"])


def gigabytes(size: int) -> str:
    """Bytes in units of 10^9."""
    return f"{size / 1e9:.3g}"


if __name__ == "__main__":
    main()
