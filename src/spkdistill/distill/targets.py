"""What a teacher says about each view or whole utterance: dumped once, read whenever a student trains."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from spkdistill.arks import ArkReader, Layout, TopKWriter, VectorWriter, describe
from spkdistill.distill.logits import (
    Factored,
    cut_to_largest,
    finite,
    layout_for,
    open_logits,
    opened,
    save_head,
    size,
)
from spkdistill.distill.parts import AGGREGATED, KNOWN, is_part, layer_of
from spkdistill.errors import ConfigError, DataError
from spkdistill.manifest import write_manifest
from spkdistill.models.aggregators import aggregated
from spkdistill.models.device import prepare
from spkdistill.models.loading import load_network
from spkdistill.models.store import load_aggregators, read_network_config
from spkdistill.progress import progress
from spkdistill.shards import shard
from spkdistill.views import ViewReader, Views, read_views, whole_utterance

BATCH = 64  # views
CHUNK = 4096  # vectors read at once for a mean
COMPARED = 16  # batches in which logits from the cached embeddings are compared with the teacher's


class TeacherFiles(NamedTuple):
    """A trained teacher; the aggregators are None where no aggregated part is wanted."""

    model: str | Path
    config: str | Path
    aggregators: str | Path | None
    aggregators_config: str | Path | None


class PartFiles(NamedTuple):
    """Where a part of the cache lies, and what its storage lost."""

    ark: str | Path
    scp: str | Path
    rounding: str | Path


class Teacher(NamedTuple):
    """The networks in those files, and what the classes of the head are."""

    model: nn.Module
    head: nn.Module | None
    aggregators: nn.ModuleDict
    speakers: Sequence[str] = ()


class Top(NamedTuple):
    """How much of the logits is kept: the target's, the k largest others', the mass left at temperatures."""

    k: int
    temperatures: Sequence[float]


def dump_shard(
    files: TeacherFiles,
    views_path: str | Path,
    features_scp: str | Path,
    targets_of: str,
    storage: str,
    job: int,
    jobs: int,
    outputs: Mapping[str, PartFiles],
    threads: int,
    trust: bool = False,
    top: Top | None = None,
) -> None:
    """Write one vector for each view, or for each utterance that has views, and each part of `outputs`.

    `targets_of` is "view" or "utterance", `storage` one of arks.STORAGES. A shard has the same bytes however
    many there are: views go through the network in batches that are those of the full list, utterances alone.
    `trust` lets the program in a TorchScript file run. With `top` logits, which must then be of views, are
    cut to the largest, in float32.
    """
    device = prepare(threads)
    teacher = load_teacher(files, list(outputs), device, trust)
    views = read_views(views_path)
    reader = ViewReader(views, features_scp)
    check_views(views, views_path, reader, teacher.model)
    layout = layout_for(len(teacher.speakers), *top) if top else None
    classes = classes_of(teacher, views, views_path) if top else {}
    batches = shard(all_batches(views, targets_of), job, jobs)
    inputs = batches_of(batches, reader, teacher.model, targets_of)
    with ExitStack() as stack:
        writers = {
            part: stack.enter_context(writer_of(part, paths, storage, layout))
            for part, paths in outputs.items()
        }
        unit = f"batches of {BATCH} views" if targets_of == "view" else "utterances"
        for keys, features in progress(inputs, len(batches), "dump", unit):
            found = answers(teacher, torch.from_numpy(features).to(device), list(outputs))
            if layout and "logits" in found:
                target = torch.tensor([classes[key] for key in keys], device=device)
                found["logits"] = cut_to_largest(found["logits"], target, layout)
            for part, vectors in found.items():
                for key, vector in zip(keys, vectors.cpu().numpy(), strict=True):
                    writers[part].write(key, vector)


def factor(
    files: TeacherFiles,
    views_path: str | Path,
    features_scp: str | Path,
    embeddings: str | Path,
    head: str | Path,
    manifest: str | Path,
    threads: int,
) -> None:
    """Write a teacher's head, which with the cached `embeddings` (scp) of views is a cache of its logits.

    The manifest says how far these are from the teacher's own, in COMPARED batches.
    """
    device = prepare(threads)
    teacher = load_teacher(files, ["logits"], device, trust=False)
    views = read_views(views_path)
    reader = ViewReader(views, features_scp)
    check_views(views, views_path, reader, teacher.model)
    save_head(head, teacher.head, read_network_config(files.config)[1].head, len(teacher.speakers))
    logits = Factored(opened(embeddings), head, device)
    batches = all_batches(views, "view")
    batches = batches[:: max(len(batches) // COMPARED, 1)]
    differences = []
    for keys, features in batches_of(batches, reader, teacher.model, "view"):
        dense = answers(teacher, torch.from_numpy(features).to(device), ["logits"])["logits"]
        differences += (logits(keys) - dense).abs().amax(1).tolist()
    contents = {
        "form": "factored",
        "embeddings": Path(embeddings).name,
        "head": Path(head).name,
        "classes": logits.classes,
        "bytes_of_head": Path(head).stat().st_size,
        "bytes_per_entry": round(describe(embeddings)["bytes"] / len(logits.reader), 1),
        "compared": len(differences),
        "largest_difference": max(differences),
    }
    write_manifest(manifest, "head", contents)


def writer_of(part: str, files: PartFiles, storage: str, layout: Layout | None) -> VectorWriter | TopKWriter:
    """What writes a part."""
    return TopKWriter(*files, layout) if layout and part == "logits" else VectorWriter(*files, storage)


def classes_of(teacher: Teacher, views: Views, path: str | Path) -> dict[str, int]:
    """The class of each view: its speaker's place in the teacher's head."""
    places = {speaker: place for place, speaker in enumerate(teacher.speakers)}
    try:
        return {view: places[speaker] for view, speaker in zip(views.ids, views.speakers, strict=True)}
    except KeyError as error:
        raise DataError(f"{path}: the teacher was not trained on the speaker {error.args[0]}") from None


def all_batches(views: Views, targets_of: str) -> Sequence[int] | list[str]:
    """Where each batch of views begins; or the utterances, of which each is a batch."""
    return range(0, len(views), BATCH) if targets_of == "view" else sorted(set(views.utterances))


def batches_of(
    batches: Sequence, reader: ViewReader, model: nn.Module, targets_of: str
) -> Iterator[tuple[list[str], np.ndarray]]:
    """The keys and the features (batch, frames, dim) of some of all_batches."""
    if targets_of == "view":
        return (view_batch(reader, start) for start in batches)
    return (utterance_batch(reader, model, utterance) for utterance in batches)


def view_batch(reader: ViewReader, start: int) -> tuple[list[str], np.ndarray]:
    """The ids and the crops (batch, frames, dim) of a batch of views."""
    indices = range(start, min(start + BATCH, len(reader.views)))
    return reader.views.ids[indices.start : indices.stop], reader.batch(indices)


def utterance_batch(reader: ViewReader, model: nn.Module, utterance: str) -> tuple[list[str], np.ndarray]:
    """An utterance as a batch of its own, (1, frames, dim)."""
    whole = whole_utterance(reader.reader, utterance, model.feature_dim, model.receptive_field)
    return [utterance], whole[np.newaxis]


@torch.inference_mode()
def answers(teacher: Teacher, features: Tensor, parts: Sequence[str]) -> dict[str, Tensor]:
    """Each part for crops (batch, frames, dim), as (batch, size), from one pass of the teacher."""
    layers = teacher.model.frame_layers(features)
    embedding = teacher.model.embed(layers[-1])
    return {part: answer(teacher, part, layers, embedding) for part in parts}


def answer(teacher: Teacher, part: str, layers: list[Tensor], embedding: Tensor) -> Tensor:
    """One part, (batch, size); narrow_bn and wide_bn as means over frames are our reading of the paper."""
    if part == "xvector":
        return embedding
    if part == "logits":
        return teacher.head.plain(embedding)
    if part in AGGREGATED:
        return teacher.aggregators[part](aggregated(teacher.model, layers))
    return layers[layer_index(teacher.model, part)].mean(2)


def layer_index(model: nn.Module, part: str) -> int:
    """Which of a model's frame layers, from 0, `narrow_bn`, `wide_bn` or `layer:N` is."""
    number = layer_of(part)
    return getattr(model, part.upper()) if number is None else number - 1


class TargetReader:
    """Targets by view or utterance: `scps` are {part: scp}, in the order in which parts are concatenated.

    With `mean_norm` each part's mean over all its vectors, those of the training set, is subtracted; then
    each part is length-normalised, so that none outweighs another (our reading of arXiv 2303.01125). Logits
    are kept apart and as they are: `scps` has the index of any form of them as "logits", and of the factored
    one, whose index is that of the embeddings, the teacher's head as "head". See `logits.open_logits`.
    """

    def __init__(
        self,
        scps: Mapping[str, str | Path],
        mean_norm: bool,
        temperature: float | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        self.parts = [part for part in scps if part not in ("logits", "head")]
        self.readers = {part: opened(scps[part]) for part in self.parts}
        self.means = {part: mean(self.readers[part]) if mean_norm else np.float32(0) for part in self.parts}
        self.sizes = {part: size(reader) for part, reader in self.readers.items()}
        if "logits" in scps:
            self.form = open_logits(scps["logits"], scps.get("head"), temperature, device)
            self.sizes["logits"] = self.form.classes

    def batch(self, keys: Sequence[str]) -> np.ndarray:
        """The normalised targets, side by side: float32 (batch, sum of sizes)."""
        return side_by_side([self.gather(part, keys) - self.means[part] for part in self.parts])

    def logits(self, keys: Sequence[str]) -> Tensor:
        """The teacher's logits without margin: float32 (batch, speakers), on the device."""
        return self.form(keys)

    def gather(self, part: str, keys: Sequence[str]) -> np.ndarray:
        """The vectors of one part as they were dumped: float32 (batch, size)."""
        return finite(self.readers[part], keys)


def side_by_side(parts: Sequence[np.ndarray]) -> np.ndarray:
    """Parts (batch, size), each vector brought to length 1, next to each other."""
    lengths = [np.linalg.norm(part, axis=1, keepdims=True) for part in parts]
    return np.concatenate([v / np.maximum(n, 1e-12) for v, n in zip(parts, lengths, strict=True)], axis=1)


def load_teacher(files: TeacherFiles, parts: Sequence[str], device: torch.device, trust: bool) -> Teacher:
    """The networks that `parts` need, on `device`; ConfigError for a part that this teacher cannot give."""
    model, head, config = load_network(files.model, files.config, trust)
    for part in parts:
        if not is_part(part):
            raise ConfigError(f"targets: {part!r} is not known; choose from {KNOWN}, logits")
        if part in ("narrow_bn", "wide_bn") and not hasattr(model, part.upper()):
            raise ConfigError(f"targets: {config['model']['arch']} has no layer called {part}; leave it out")
        if (layer_of(part) or 0) > len(model.layer_dims):
            raise ConfigError(f"targets: {part}: {files.config} has {len(model.layer_dims)} frame layers")
        if part == "logits" and head is None:
            raise ConfigError(f"targets: {files.config} has no head, so no logits; leave them out")
        if part in AGGREGATED and not (files.aggregators and files.aggregators_config):
            raise ConfigError(f"targets: {part} needs the teacher's aggregators; give both of their files")
    aggregators = nn.ModuleDict()
    if any(part in AGGREGATED for part in parts):
        dims = aggregated(model, model.layer_dims)
        aggregators = load_aggregators(files.aggregators, files.aggregators_config, dims)
    return Teacher(
        model.to(device), head.to(device) if head else None, aggregators.to(device), config["speakers"]
    )


def check_views(views: Views, path: str | Path, reader: ViewReader, model: nn.Module) -> None:
    """DataError unless the teacher can take the views."""
    if reader.dim != model.feature_dim:
        raise DataError(
            f"{reader.scp}: {reader.dim} columns, but the teacher was trained on {model.feature_dim}"
        )
    if views.frames.min() < model.receptive_field:
        raise DataError(
            f"{path}: views of {views.frames.min()} frames, but the teacher sees {model.receptive_field}"
        )


def mean(reader: ArkReader) -> np.ndarray:
    """The mean of all vectors, float32, accumulated in float64."""
    keys = reader.keys()
    chunks = (keys[start : start + CHUNK] for start in range(0, len(keys), CHUNK))
    total = sum(finite(reader, chunk).sum(0, dtype=np.float64) for chunk in chunks)
    return (total / len(keys)).astype(np.float32)
