"""Vectors stored in two bytes a value, as matrices of one row (`CM2`), and what that loses of them.

The integers are linear over the vector's own range: of 128 to 1,500 normal values that loses 2.3e-5 to
3.0e-5 of their length (rms), where float16 would lose 2.1e-4.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from spkdistill.arks.compression import restored
from spkdistill.arks.writer import ArkWriter
from spkdistill.errors import DataError
from spkdistill.files import read_json, write_json

STORAGES = {"float32": "none", "two-byte": "two-byte-auto"}  # compression of each

LARGEST = 2.0**60  # of the numbers in a shard's JSON


@dataclass
class Rounding:
    """What storing vectors v as s lost: errors |s - v| / |v|, and the cosines of s and v."""

    vectors: int = 0
    largest: float = 0.0  # error
    squares: float = 0.0  # sum of the squared errors
    smallest_cosine: float = 1.0

    def add(self, given: np.ndarray, stored: np.ndarray) -> None:
        """Count one vector; one of zeros is stored as it is."""
        given, stored = given.astype(np.float64), stored.astype(np.float64)
        self.vectors += 1
        length = np.linalg.norm(given)
        if length > 0:
            error = float(np.linalg.norm(stored - given) / length)
            cosine = float(given @ stored / (length * np.linalg.norm(stored)))
            self.largest, self.squares = max(self.largest, error), self.squares + error**2
            self.smallest_cosine = min(self.smallest_cosine, cosine)


class VectorWriter:
    """Writes float32 vectors in a storage of STORAGES, and beside the archive what it lost of them (JSON)."""

    def __init__(self, ark: str | Path, scp: str | Path, rounding: str | Path, storage: str) -> None:
        self.writer = ArkWriter(ark, scp, STORAGES[storage])
        self.path, self.storage, self.rounding = rounding, storage, Rounding()

    def write(self, key: str, vector: np.ndarray) -> None:
        """Write one vector."""
        if self.storage == "float32":
            self.rounding.vectors += 1
            self.writer.write(key, vector)
        else:
            self.writer.write(key, vector[np.newaxis])
            self.rounding.add(vector, restored(vector[np.newaxis], STORAGES[self.storage])[0])

    def __enter__(self) -> "VectorWriter":
        self.writer.__enter__()
        return self

    def __exit__(self, kind: type | None, *error: object) -> None:
        self.writer.__exit__(kind, *error)
        if kind is None:
            write_json(self.path, {"storage": self.storage, **asdict(self.rounding)})


def describe_rounding(paths: Sequence[str | Path]) -> dict[str, Any]:
    """What a manifest says of shards' rounding: storage, largest and rms error, smallest cosine."""
    shards = [read_rounding(path) for path in paths]
    vectors = sum(each["vectors"] for each in shards)
    return {
        "storage": shards[0]["storage"],
        "largest_error": max(each["largest"] for each in shards),
        "rms_error": math.sqrt(sum(each["squares"] for each in shards) / max(vectors, 1)),
        "smallest_cosine": min(each["smallest_cosine"] for each in shards),
    }


def read_rounding(path: str | Path) -> dict[str, Any]:
    """What a VectorWriter wrote beside its archive."""
    found, known = read_json(path), ["storage", *asdict(Rounding())]
    if not isinstance(found, dict) or found.keys() != set(known) or found["storage"] not in [*STORAGES]:
        raise DataError(f"{path}: expected {', '.join(known)}; run the shard again")
    for key in known[1:]:
        if not isinstance(found[key], int | float) or not 0 <= found[key] <= LARGEST:
            raise DataError(f"{path}: {key} is no number that can be; run the shard again")
    return found
