"""What a teacher says about each view: dumped once, read again and again while students train."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from spkdistill.arks import ArkReader, ArkWriter
from spkdistill.errors import ConfigError, DataError
from spkdistill.models.aggregators import AGGREGATORS, aggregated
from spkdistill.models.device import prepare
from spkdistill.models.store import load, load_aggregators
from spkdistill.progress import progress
from spkdistill.shards import shard
from spkdistill.views import ViewReader, Views, read_views

PARTS = ("xvector", "narrow_bn", "wide_bn", *AGGREGATORS, "logits")
BATCH = 64  # views
CHUNK = 4096  # vectors read at once for a mean


class TeacherFiles(NamedTuple):
    """A trained teacher; the aggregators are None where no aggregated part is wanted."""

    model: str | Path
    config: str | Path
    aggregators: str | Path | None
    aggregators_config: str | Path | None


class Teacher(NamedTuple):
    """The networks in those files."""

    model: nn.Module
    head: nn.Module | None
    aggregators: nn.ModuleDict


def dump_shard(
    files: TeacherFiles,
    views_path: str | Path,
    features_scp: str | Path,
    job: int,
    jobs: int,
    outputs: Mapping[str, tuple[str | Path, str | Path]],
    threads: int,
) -> None:
    """Write one float32 vector a view for each part of `outputs`, which are {part: (ark, scp)}.

    Shards are of whole batches of the full list of views: a view goes through the network in the same company
    however many shards there are, and so gives the same bytes.
    """
    device = prepare(threads)
    teacher = load_teacher(files, list(outputs), device)
    views = read_views(views_path)
    reader = ViewReader(views, features_scp)
    check_views(views, views_path, reader, teacher.model)
    batches = shard(range(0, len(views), BATCH), job, jobs)
    with ExitStack() as stack:
        writers = {part: stack.enter_context(ArkWriter(*paths)) for part, paths in outputs.items()}
        for start in progress(batches, len(batches), "dump", f"batches of {BATCH} views"):
            indices = range(start, min(start + BATCH, len(views)))
            features = torch.from_numpy(reader.batch(indices)).to(device)
            for part, vectors in answers(teacher, features, list(outputs)).items():
                for index, vector in zip(indices, vectors.cpu().numpy(), strict=True):
                    writers[part].write(views.ids[index], vector)


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
    if part in AGGREGATORS:
        return teacher.aggregators[part](aggregated(teacher.model, layers))
    return layers[teacher.model.NARROW_BN if part == "narrow_bn" else teacher.model.WIDE_BN].mean(2)


class TargetReader:
    """Targets by view id: `scps` are {part: scp}, in the order in which parts are concatenated.

    With `mean_norm` each part's mean over all its vectors, those of the training views, is subtracted; then
    each part is length-normalised, so that none outweighs another (our reading of arXiv 2303.01125). Logits
    are kept apart and as they are.
    """

    def __init__(self, scps: Mapping[str, str | Path], mean_norm: bool) -> None:
        self.readers = {part: ArkReader(scp) for part, scp in scps.items()}
        self.parts = [part for part in scps if part != "logits"]
        for part, reader in self.readers.items():
            if len(reader) == 0:
                raise DataError(f"{scps[part]}: no targets; dump them again")
        self.means = {part: mean(self.readers[part]) if mean_norm else np.float32(0) for part in self.parts}
        self.dim = sum(size(self.readers[part]) for part in self.parts)

    def batch(self, view_ids: Sequence[str]) -> np.ndarray:
        """The normalised targets, side by side: float32 (batch, dim)."""
        vectors = [self.gather(part, view_ids) - self.means[part] for part in self.parts]
        lengths = [np.linalg.norm(part, axis=1, keepdims=True) for part in vectors]
        return np.concatenate(
            [v / np.maximum(n, 1e-12) for v, n in zip(vectors, lengths, strict=True)], axis=1
        )

    def logits(self, view_ids: Sequence[str]) -> np.ndarray:
        """The teacher's logits without margin: float32 (batch, speakers)."""
        return self.gather("logits", view_ids)

    def gather(self, part: str, view_ids: Sequence[str]) -> np.ndarray:
        """The vectors of one part as they were dumped: float32 (batch, size)."""
        reader = self.readers[part]
        missing = next((view for view in view_ids if view not in reader), None)
        if missing is not None:
            raise DataError(f"{reader.scp_path}:{missing}: no target for this view; dump the targets again")
        return finite(reader, view_ids)


def load_teacher(files: TeacherFiles, parts: Sequence[str], device: torch.device) -> Teacher:
    """The networks that `parts` need, on `device`; ConfigError for a part that this teacher cannot give."""
    model, head, config = load(files.model, files.config)
    for part in parts:
        if part not in PARTS:
            raise ConfigError(f"targets: {part!r} is not known; choose from {', '.join(PARTS)}")
        if part in ("narrow_bn", "wide_bn") and not hasattr(model, part.upper()):
            raise ConfigError(f"targets: {config['model']['arch']} has no layer called {part}; leave it out")
        if part == "logits" and head is None:
            raise ConfigError(f"targets: {files.config} has no head, so no logits; leave them out")
        if part in AGGREGATORS and not (files.aggregators and files.aggregators_config):
            raise ConfigError(f"targets: {part} needs the teacher's aggregators; give both of their files")
    aggregators = nn.ModuleDict()
    if any(part in AGGREGATORS for part in parts):
        dims = aggregated(model, model.layer_dims)
        aggregators = load_aggregators(files.aggregators, files.aggregators_config, dims)
    return Teacher(model.to(device), head.to(device) if head else None, aggregators.to(device))


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


def finite(reader: ArkReader, keys: Sequence[str]) -> np.ndarray:
    """The vectors of `keys`, (keys, size); DataError names one that has a NaN or an infinity."""
    vectors = reader.gather(keys)
    for key, good in zip(keys, np.isfinite(vectors).all(1), strict=True):
        if not good:
            raise DataError(f"{reader.scp_path}:{key}: not finite, damaged; dump the targets again")
    return vectors


def size(reader: ArkReader) -> int:
    """The size of a part's vectors; each is checked against the others when read."""
    return int(np.prod(reader.shape(reader.keys()[0])))
