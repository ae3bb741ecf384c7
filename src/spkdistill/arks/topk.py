"""Logits cut to the largest: a float32 matrix of two rows for each view, which says itself what it holds.

    C   y    c_1 ... c_k   T_1 ... T_n
    k   z_y  z_1 ... z_k   f_1 ... f_n

Of C classes it has the target y and the k others with the largest logits z, largest first; float32 holds
the numbers of up to 2^24 classes. At temperature T_i the mass of the C - 1 - k classes that are left is kept
by f_i, the logit that each of them has to be given: (C - 1 - k) exp(f_i / T_i) = sum of exp(z_j / T_i).
"""

from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from spkdistill.arks.writer import ArkWriter
from spkdistill.errors import DataError
from spkdistill.files import read_json, write_json

MOST_CLASSES = 2**24
LARGEST_NUMBER = 2.0**60  # in a shard's JSON
ROUNDING = 1e-6  # of a float32
KEYS = {"form", "classes", "k", "temperatures", "entries", "left_sums", "left_largest"}


class Layout(NamedTuple):
    """What the matrices of an archive have in common."""

    classes: int  # C
    k: int
    temperatures: tuple[float, ...]

    @property
    def left(self) -> int:
        """How many classes are not kept."""
        return self.classes - 1 - self.k

    @property
    def columns(self) -> int:
        """The width of a matrix."""
        return self.k + 2 + len(self.temperatures)

    @property
    def kept(self) -> slice:
        """The columns of the target and of the k others."""
        return slice(1, self.k + 2)


def layout_of(matrix: np.ndarray) -> Layout | None:
    """The layout of a matrix (2, columns); None where it is another kind of object."""
    if not isinstance(matrix, np.ndarray) or matrix.ndim != 2 or len(matrix) != 2 or matrix.shape[1] < 3:
        return None
    classes, k = matrix[:, 0].tolist()
    if not (2 <= classes <= MOST_CLASSES and 1 <= k <= min(classes - 1, matrix.shape[1] - 2)):
        return None
    if classes % 1 or k % 1:
        return None
    layout = Layout(int(classes), int(k), tuple(matrix[0, int(k) + 2 :].tolist()))
    return layout if is_laid_out(matrix[np.newaxis], layout).all() else None


@np.errstate(invalid="ignore")  # of what is not finite, and so refused
def is_laid_out(matrices: np.ndarray, layout: Layout) -> np.ndarray:
    """Which of the matrices (views, 2, columns) are as `layout` says: bool (views,)."""
    if matrices.shape[1:] != (2, layout.columns):
        return np.zeros(len(matrices), bool)
    expected = np.array([layout.classes, *layout.temperatures], np.float32)
    same = (matrices[:, 0, [0, *range(layout.k + 2, matrices.shape[2])]] == expected).all(1)
    same &= (matrices[:, 1, 0] == layout.k) & np.isfinite(matrices).all((1, 2))
    same &= min(layout.temperatures, default=1) > 0
    if layout.left:  # their mean power is not above the least that is kept
        least = matrices[:, 1, 2 : layout.k + 2].min(1, keepdims=True)
        slack = ROUNDING * (np.abs(least) + expected[1:])
        same &= (matrices[:, 1, layout.k + 2 :] <= least + slack).all(1)
    classes = np.sort(matrices[:, 0, layout.kept], axis=1)
    whole = (classes % 1 == 0).all(1) & (classes[:, 0] >= 0) & (classes[:, -1] < layout.classes)
    return same & whole & (np.diff(classes, axis=1) > 0).all(1)


def left_masses(matrices: np.ndarray, layout: Layout) -> np.ndarray:
    """The posterior mass of the classes that are left, at each temperature: float64 (views, n)."""
    logits = matrices[:, 1].astype(np.float64)
    masses = []
    for column, temperature in enumerate(layout.temperatures, start=layout.k + 2):
        scaled = logits[:, [*range(1, layout.k + 2), column]] / temperature
        powers = np.exp(scaled - scaled.max(1, keepdims=True))
        powers[:, -1] *= layout.left
        masses.append(powers[:, -1] / powers.sum(1))
    return np.stack(masses, axis=1) if masses else np.empty((len(matrices), 0))


class TopKWriter:
    """Writes matrices of one layout, and beside the archive the masses that they left out (JSON)."""

    def __init__(self, ark: str | Path, scp: str | Path, losses: str | Path, layout: Layout) -> None:
        self.writer, self.path, self.layout = ArkWriter(ark, scp), losses, layout
        self.entries = 0
        self.sums, self.largest = np.zeros((2, len(layout.temperatures)))

    def write(self, key: str, matrix: np.ndarray) -> None:
        """Write what is kept of a view's logits, float32 (2, columns)."""
        self.writer.write(key, matrix)
        masses = left_masses(matrix[np.newaxis], self.layout)[0]
        self.entries += 1
        self.sums, self.largest = self.sums + masses, np.maximum(self.largest, masses)

    def __enter__(self) -> "TopKWriter":
        self.writer.__enter__()
        return self

    def __exit__(self, kind: type | None, *error: object) -> None:
        self.writer.__exit__(kind, *error)
        if kind is None:
            left = {"left_sums": self.sums.tolist(), "left_largest": self.largest.tolist()}
            write_json(self.path, {"form": "topk", **self.layout._asdict(), "entries": self.entries, **left})


def describe_topk(paths: Sequence[str | Path]) -> dict[str, Any]:
    """What a manifest says of shards' matrices: their layout, and the mass left at each temperature."""
    shards = [read_losses(path) for path in paths]
    layouts = [{key: shard[key] for key in Layout._fields} for shard in shards]
    if any(layout != layouts[0] for layout in layouts):
        raise DataError(
            f"{paths[0]}: other classes, k or temperatures than in the other shards; run them again"
        )
    entries = max(sum(shard["entries"] for shard in shards), 1)
    left = [
        {"temperature": temperature, "mean_mass": sum(sums) / entries, "largest_mass": max(largest)}
        for temperature, sums, largest in zip(
            layouts[0]["temperatures"],
            zip(*(shard["left_sums"] for shard in shards), strict=True),
            zip(*(shard["left_largest"] for shard in shards), strict=True),
            strict=True,
        )
    ]
    return {"form": "topk", "classes": layouts[0]["classes"], "k": layouts[0]["k"], "left": left}


def read_losses(path: str | Path) -> dict[str, Any]:
    """What a TopKWriter wrote beside its archive."""
    found = read_json(path)
    if not isinstance(found, dict) or found.keys() != KEYS or found["form"] != "topk":
        raise DataError(f"{path}: expected {', '.join(sorted(KEYS))}; run the shard again")
    lists = [found[key] for key in ("temperatures", "left_sums", "left_largest")]
    sound = all(isinstance(one, list) and len(one) == len(lists[0]) for one in lists)
    numbers = [found[key] for key in ("classes", "k", "entries")] + list(chain(*lists) if sound else [])
    if not sound or not all(isinstance(n, int | float) and 0 <= n < LARGEST_NUMBER for n in numbers):
        raise DataError(f"{path}: no numbers that can be; run the shard again")
    return found
