"""Batches of views, their speakers' classes and their cached targets, in an order that the seed fixes."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from spkdistill.errors import DataError
from spkdistill.seeds import generator
from spkdistill.training import processes
from spkdistill.training.settings import SpecAugmentSettings
from spkdistill.views import ViewReader, Views, read_speakers, read_views


class Inputs(NamedTuple):
    """The files that every training reads."""

    views: str | Path
    speakers: str | Path
    features: str | Path  # scp of voiced features


class Targets(NamedTuple):
    """What an objective of a student learns from."""

    read: Callable[[list[str]], np.ndarray | Tensor]  # float32 (batch, sum of sizes), by id
    sizes: list[int]  # of each part
    of: str  # what the ids are: "view" or "utterance"
    kept: int | None = None  # how many others than the target have logits of their own; None for all


class Batch(NamedTuple):
    """One step's input, or a process's slice of it."""

    features: Tensor  # float32 (batch, frames, dim)
    labels: Tensor  # int64 (batch,)
    targets: tuple[Tensor, ...]  # float32 (batch, dim), of each objective
    share: float = 1.0  # of the step's views

    def to(self, device: torch.device) -> "Batch":
        """The same batch on a device."""
        targets = tuple(target.to(device) for target in self.targets)
        return Batch(self.features.to(device), self.labels.to(device), targets, self.share)


class TrainingData:
    """Every view once an epoch; a step's batch does not depend on which others were asked for."""

    def __init__(
        self,
        inputs: Inputs,
        targets: tuple[Targets, ...],
        batch_size: int,
        spec_augment: SpecAugmentSettings | None,
        seed: int,
        stage: str,
    ) -> None:
        """`targets` are those of each objective; seeds are of `seed`, `stage`, step."""
        self.reader = ViewReader(read_views(inputs.views), inputs.features)
        self.views, self.speakers = self.reader.views, read_speakers(inputs.speakers)
        if len(self.speakers) < 2:
            raise DataError(f"{inputs.speakers}: one speaker; training needs two at least")
        self.labels = classes_of(self.views, self.speakers)
        self.targets, self.spec_augment = targets, spec_augment
        self.seed, self.stage = seed, stage
        # As many steps as whole batches; what is over is spread, so that no batch is too small to normalise.
        self.steps_per_epoch = max(1, len(self.views) // batch_size)
        self.permutation = lru_cache(maxsize=2)(self.draw_permutation)

    def batches(self, first: int, last: int) -> Iterator[Batch]:
        """This process's slices of batches `first` to `last - 1`; a thread prepares the next one."""
        place = processes.rank(), processes.size()
        with ThreadPoolExecutor(max_workers=1) as pool:
            upcoming = pool.submit(self.batch, first, *place) if first < last else None
            for step in range(first, last):
                batch = upcoming.result()
                if step + 1 < last:
                    upcoming = pool.submit(self.batch, step + 1, *place)
                yield batch

    def batch(self, step: int, part: int = 0, parts: int = 1) -> Batch:
        """The batch of a step, counted from 0 over the whole training, or one of its `parts` slices."""
        epoch, place = divmod(step, self.steps_per_epoch)
        whole = np.array_split(self.permutation(epoch), self.steps_per_epoch)[place]
        rows = np.array_split(np.arange(len(whole)), parts)[part]
        chosen = whole[rows]
        features = self.reader.batch(chosen)
        if not np.isfinite(features).all():
            bad = chosen[~np.isfinite(features).all((1, 2))][0]
            where = f"{self.reader.scp}:{self.views.utterances[bad]}"
            raise DataError(f"{where}: features are not finite; extract them again")
        if self.spec_augment is not None:
            random = generator(self.seed, self.stage, f"masks {step}")
            mask(features, self.spec_augment, random, rows, len(whole))
        targets = tuple(self.read_targets(kind, chosen) for kind in self.targets)
        labels, share = torch.from_numpy(self.labels[chosen]), len(chosen) / len(whole)
        return Batch(torch.from_numpy(features), labels, targets, share)

    def read_targets(self, targets: Targets, chosen: Iterable[int]) -> Tensor:
        """The targets of an objective for the chosen views, float32 (views, dim)."""
        ids = self.views.ids if targets.of == "view" else self.views.utterances
        return torch.as_tensor(targets.read([ids[index] for index in chosen]))

    def draw_permutation(self, epoch: int) -> np.ndarray:
        """The order of an epoch."""
        return generator(self.seed, self.stage, f"epoch {epoch}").permutation(len(self.views))


def classes_of(views: Views, speakers: Sequence[str]) -> np.ndarray:
    """The class of each view, int64 (views,): its speaker's place in `speakers`."""
    classes = {speaker: index for index, speaker in enumerate(speakers)}
    try:
        return np.array([classes[speaker] for speaker in views.speakers], dtype=np.int64)
    except KeyError as error:
        unknown = f"speaker {error.args[0]} of views.tsv is not in the list of speakers"
        raise DataError(f"{unknown}; rerun the views stage") from None


def mask(
    features: np.ndarray,
    settings: SpecAugmentSettings,
    random: np.random.Generator,
    rows: np.ndarray,
    batch: int,
) -> None:
    """Zero random bands of each crop in place; 0 is the mean of normalised features; (rows, frames, dim).

    Bands are drawn for the whole batch, of which `rows` are here: they do not depend on how it is shared out.
    """
    _, frames, dim = features.shape
    features[bands(batch, frames, settings.time_masks, settings.time_width, random)[rows]] = 0
    columns = bands(batch, dim, settings.frequency_masks, settings.frequency_width, random)[rows]
    features.transpose(0, 2, 1)[columns] = 0


def bands(batch: int, length: int, count: int, width: int, random: np.random.Generator) -> np.ndarray:
    """Where `count` random bands of at most `width` lie: bool (batch, length)."""
    widths = random.integers(min(width, length) + 1, size=(batch, count, 1))
    starts = random.integers(length - widths + 1)
    places = np.arange(length)
    return ((places >= starts) & (places < starts + widths)).any(axis=1)
