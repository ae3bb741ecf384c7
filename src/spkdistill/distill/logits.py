"""A teacher's logits from any form of its cache: dense, topk or factored.

- dense: every logit, a vector for each view.
- topk: the target's, the k largest others', and the mass of what is left (arks/topk.py). Classes that are not
  kept share that mass equally, so that the posteriors of all others are exact at the temperatures it is for.
- factored: nothing but the head's weights. A view's logits are `head.plain` of its cached embedding, computed
  for each batch; exact to the rounding of float32, and of the embedding's storage.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from spkdistill.arks import ArkReader, Layout, is_laid_out, layout_of
from spkdistill.errors import ConfigError, DataError
from spkdistill.models.build import WIDEST, build_head
from spkdistill.models.store import blaming, read_weights, write_weights

LARGEST_TARGET = 1e15  # squares of larger ones do not fit into float32


class Dense:
    """Every logit, as it was dumped."""

    kept = None

    def __init__(self, reader: ArkReader, device: torch.device) -> None:
        self.reader, self.device, self.classes = reader, device, size(reader)

    def __call__(self, keys: Sequence[str]) -> Tensor:
        """Float32 (keys, classes)."""
        return torch.from_numpy(finite(self.reader, keys)).to(self.device)


class TopK:
    """The largest logits, the others made equal so that they have the mass they had at one temperature."""

    def __init__(self, reader: ArkReader, layout: Layout, temperature: float, device: torch.device) -> None:
        self.reader, self.layout, self.device = reader, layout, device
        self.classes, self.kept = layout.classes, layout.k
        if np.float32(temperature) not in layout.temperatures:
            kept = " and ".join(f"{kept:g}" for kept in layout.temperatures) or "no temperature"
            raise ConfigError(
                f"{reader.scp_path}: top {layout.k} of the logits with the masses at {kept}, "
                f"not at {temperature:g}; add it to the teacher's logits.temperatures and dump them again"
            )
        self.column = layout.k + 2 + layout.temperatures.index(np.float32(temperature))

    def __call__(self, keys: Sequence[str]) -> Tensor:
        """Float32 (keys, classes)."""
        matrices = finite(self.reader, keys, rows=2).reshape(len(keys), 2, -1)
        good = is_laid_out(matrices, self.layout)
        if not good.all():
            where = f"{self.reader.scp_path}:{keys[int(good.argmin())]}"
            raise DataError(f"{where}: not the top {self.layout.k} logits of {self.classes}; dump them again")
        kept = torch.from_numpy(matrices[:, 0, self.layout.kept].astype(np.int64)).to(self.device)
        numbers = torch.from_numpy(matrices[:, 1]).to(self.device)
        logits = numbers[:, self.column, None].repeat(1, self.classes)
        return logits.scatter_(1, kept, numbers[:, self.layout.kept])


class Factored:
    """The teacher's head, applied to its cached embeddings."""

    kept = None

    def __init__(self, reader: ArkReader, head: str | Path, device: torch.device) -> None:
        self.reader, self.device = reader, device
        self.head, self.classes = load_head(head, size(reader), reader.scp_path)
        self.head.to(device)

    @torch.no_grad()
    def __call__(self, keys: Sequence[str]) -> Tensor:
        """Float32 (keys, classes)."""
        return self.head.plain(torch.from_numpy(finite(self.reader, keys)).to(self.device))


def open_logits(
    scp: str | Path, head: str | Path | None, temperature: float | None, device: torch.device | str
) -> Dense | TopK | Factored:
    """The reader of a cache of logits; `scp` is that of the embeddings where there is a `head`.

    `classes` of it is how many there are, `kept` how many others than the target have logits of their own,
    None for all. topk needs the `temperature` of the objective; ConfigError if the cache lacks that one.
    """
    reader = opened(scp)
    device = torch.empty(0, device=device).device  # "cuda" would be another GPU in the thread that reads
    if head is not None:
        return Factored(reader, head, device)
    first = reader.keys()[0]
    if reader.shape(first)[:1] != (2,) or len(reader.shape(first)) != 2:
        return Dense(reader, device)
    layout = layout_of(reader[first])
    if layout is None:
        raise DataError(f"{scp}:{first}: two rows, but not the largest logits; dump them again")
    if temperature is None:
        raise ConfigError(f"{scp}: top {layout.k} of the logits, which are read for one temperature")
    return TopK(reader, layout, temperature, device)


def opened(scp: str | Path) -> ArkReader:
    """The entries of an index; DataError if there are none."""
    reader = ArkReader(scp)
    if len(reader) == 0:
        raise DataError(f"{scp}: no targets; dump them again")
    return reader


def finite(reader: ArkReader, keys: Sequence[str], rows: int = 1) -> np.ndarray:
    """What `reader.gather` gives; DataError names a key whose target is missing, misshapen, NaN or huge."""
    missing = next((key for key in keys if key not in reader), None)
    if missing is not None:
        raise DataError(f"{reader.scp_path}:{missing}: no target here; dump the targets again")
    expected = reader.shape(next(iter(reader)))
    for key in keys[:1]:  # `gather` compares the others with it
        if reader.shape(key) != expected:
            found = f"expected the shape {expected} of the first entry, found {reader.shape(key)}"
            raise DataError(f"{reader.scp_path}:{key}: {found}; dump the targets again")
    vectors = reader.gather(keys, rows)
    good = (vectors.max(1, initial=0) < LARGEST_TARGET) & (vectors.min(1, initial=0) > -LARGEST_TARGET)
    if not good.all():
        where = f"{reader.scp_path}:{keys[int(good.argmin())]}"
        raise DataError(f"{where}: not finite, or huge: damaged; dump the targets again")
    return vectors


def size(reader: ArkReader) -> int:
    """The size of a part's vectors; each is checked against the first when read."""
    return int(np.prod(reader.shape(reader.keys()[0])))


def layout_for(classes: int, k: int, temperatures: Sequence[float]) -> Layout:
    """The layout of the k largest logits, of all where there are fewer."""
    return Layout(classes, min(k, classes - 1), tuple(np.float32(sorted(temperatures)).tolist()))


def cut_to_largest(logits: Tensor, target: Tensor, layout: Layout) -> Tensor:
    """What topk keeps of logits (batch, classes) with targets (batch,): float32 (batch, 2, columns)."""
    others = logits.scatter(1, target[:, None], -torch.inf)
    values, classes = others.topk(layout.k)
    left = others.scatter(1, classes, -torch.inf).double()
    fills = [fill(left / temperature, layout.left) * temperature for temperature in layout.temperatures]
    column = target.new_ones(len(logits), 1)
    says = [column * layout.classes, target[:, None], classes]
    says += [torch.full_like(values[:, :1], temperature) for temperature in layout.temperatures]
    numbers = [column * layout.k, logits.gather(1, target[:, None]), values, *fills]
    rows = [torch.cat([part.double() for part in parts], dim=1) for parts in (says, numbers)]
    return torch.stack(rows, dim=1).float()


def fill(left: Tensor, count: int) -> Tensor:
    """log mean exp of the `count` numbers of each row that are not -inf; 0 if there are none: (batch, 1)."""
    return left.logsumexp(1, keepdim=True) - np.log(count) if count else left.new_zeros(len(left), 1)


def save_head(path: str | Path, head: nn.Module, settings: Mapping[str, Any], classes: int) -> None:
    """Write a head's weights, with the settings that `build_head` takes, in one safetensors file."""
    write_weights(path, head, {"head": json.dumps(settings, sort_keys=True), "classes": str(classes)})


def load_head(path: str | Path, embedding_dim: int, embeddings: str | Path) -> tuple[nn.Module, int]:
    """What `save_head` wrote, in eval mode, and its number of classes; `embeddings` names their file."""
    settings, classes = read_head_settings(path)
    with blaming(path), torch.device("meta"):  # shapes only: nothing is allocated before they match
        head = build_head(settings, embedding_dim, classes)
    read_weights(path, embeddings, head)
    return head.eval(), classes


def read_head_settings(path: str | Path) -> tuple[dict[str, Any], int]:
    """The settings of a head and its number of classes."""
    try:
        with safe_open(path, "pt") as file:
            found = file.metadata() or {}
        settings, classes = json.loads(found["head"]), int(found["classes"])
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except (SafetensorError, OSError, LookupError, ValueError, RecursionError) as error:
        raise DataError(f"{path}: not the head of a teacher ({error}); make it again") from None
    if not 1 <= classes <= WIDEST:
        raise DataError(f"{path}: {classes} classes cannot be; make it again")
    return settings, classes
