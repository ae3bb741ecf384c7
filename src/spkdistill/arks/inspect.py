"""Looking at archives: totals, differences, and faults."""

import math
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path
from typing import NamedTuple

import numpy as np

from spkdistill.arks.archives import Record, ark_records, parse_reading, read_archive, read_records
from spkdistill.arks.objects import Value
from spkdistill.arks.reader import ArkReader
from spkdistill.arks.scp import parse_location
from spkdistill.arks.topk import Layout, layout_of, left_masses
from spkdistill.errors import DataError


@dataclass
class Statistics:
    """Totals of an archive; NaN and infinity are counted and left out of the range, mean and deviation.

    Of entries that are the largest logits of a view (arks/topk.py) the values are those logits.
    """

    entries: int = 0
    bytes: int = 0  # of the numbers as they are stored
    kinds: Counter = field(default_factory=Counter)
    rows: Counter = field(default_factory=Counter)  # rows of a matrix -> entries
    dims: Counter = field(default_factory=Counter)  # columns of a matrix or length of a vector -> entries
    layouts: dict[Layout, list[np.ndarray]] = field(default_factory=dict)  # of topk -> masses left
    values: int = 0
    nans: int = 0
    infinities: int = 0
    minimum: float = math.inf
    maximum: float = -math.inf
    mean: float = 0.0
    squares: float = 0.0  # the sum of squared distances from the mean

    @property
    def deviation(self) -> float:
        """The standard deviation of the finite values."""
        finite = self.values - self.nans - self.infinities
        return math.sqrt(self.squares / finite) if finite else math.nan

    def add(self, record: Record) -> None:
        """Count one record."""
        self.entries += 1
        self.bytes += record.header.size
        self.kinds[record.header.kind] += 1
        if isinstance(record.value, np.ndarray):
            self.dims[record.shape[-1]] += 1
            if len(record.shape) == 2:
                self.rows[record.shape[0]] += 1
            layout = layout_of(record.value)
            if layout:
                masses = left_masses(record.value[np.newaxis], layout)[0]
                self.layouts.setdefault(layout, []).append(masses)
            self.add_values(record.value[1, layout.kept] if layout else record.value)

    def add_values(self, array: np.ndarray) -> None:
        """Merge in an array."""
        with np.errstate(all="ignore"):  # doubles near their greatest overflow: the sums are infinite
            self.merge_moments(array)

    def merge_moments(self, array: np.ndarray) -> None:
        """Merge in the moments of an array (Chan, Golub and LeVeque 1983), in float64."""
        finite = array[np.isfinite(array)].astype(np.float64)
        before = self.values - self.nans - self.infinities
        self.values += array.size
        self.nans += int(np.isnan(array).sum())
        self.infinities += int(np.isinf(array).sum())
        if finite.size:
            mean, count = float(finite.mean()), finite.size
            apart, total = mean - self.mean, before + count
            self.mean += apart * count / total
            self.squares += float(np.square(finite - mean).sum()) + apart * apart * before * count / total
            self.minimum = min(self.minimum, float(finite.min()))
            self.maximum = max(self.maximum, float(finite.max()))


class Difference(NamedTuple):
    """How far two values of a key are apart; `problem` instead where they cannot be compared."""

    key: str
    absolute: float
    relative: float
    place: tuple[int, ...]
    problem: str


def statistics(specifier: str | Path) -> Statistics:
    """Totals of an archive, read once from front to back."""
    found = Statistics()
    for record in read_records(specifier):
        found.add(record)
    return found


def differences(first: str | Path, second: str | Path) -> Iterator[Difference]:
    """Every key of two archives with the greatest difference of its values.

    Both are read once, in step; memory is needed only for keys that come in another order.
    """
    waiting: tuple[dict[str, Value], dict[str, Value]] = ({}, {})
    for pair in zip_longest(read_archive(first), read_archive(second)):
        for side, item in enumerate(pair):
            if item is not None and item[0] in waiting[1 - side]:
                other = waiting[1 - side].pop(item[0])
                yield compare(item[0], *((item[1], other) if side == 0 else (other, item[1])))
            elif item is not None:
                waiting[side][item[0]] = item[1]
    for name, rest in ((first, waiting[0]), (second, waiting[1])):
        for key in rest:
            yield Difference(key, math.inf, math.inf, (), f"only in {name}")


def compare(key: str, a: Value, b: Value) -> Difference:
    """The greatest differences of two values; equal NaN and equal infinity do not differ.

    The relative difference is |a - b| / max(|a|, |b|); `place` is where the absolute one is greatest.
    """
    if isinstance(a, bytes) and isinstance(b, bytes):
        return Difference(key, 0.0, 0.0, (), "") if a == b else apart(key, "bytes differ")
    if isinstance(a, bytes) or isinstance(b, bytes):
        return apart(key, "a wave file and numbers")
    if a.size == 0 and b.size == 0:  # text does not tell an empty matrix from an empty vector
        return Difference(key, 0.0, 0.0, (), "")
    if a.shape != b.shape:
        return apart(key, f"shape {a.shape} and {b.shape}")
    with np.errstate(all="ignore"):
        a, b = a.astype(np.float64), b.astype(np.float64)
        gap = np.where((a == b) | (np.isnan(a) & np.isnan(b)), 0.0, np.abs(a - b))
        gap = np.nan_to_num(gap, nan=math.inf, posinf=math.inf)
        ratio = np.where(gap > 0, gap / np.fmax(np.abs(a), np.abs(b)), 0.0)
    place = np.unravel_index(int(gap.argmax()), gap.shape)
    return Difference(
        key, float(gap.max()), float(np.nan_to_num(ratio, nan=1.0, posinf=1.0).max()), place, ""
    )


def apart(key: str, problem: str) -> Difference:
    """Two values that cannot be compared."""
    return Difference(key, math.inf, math.inf, (), problem)


def faults(specifier: str | Path) -> Iterator[str]:
    """One line for each fault of an ark, or of an scp together with every ark it names.

    Every entry must decode and be finite. Keys and offsets of the index must be those of the records, in
    their order, and every record of an ark must be in the index.
    """
    kind, path = parse_reading(str(specifier))
    if kind == "ark":
        yield from record_faults(path, {})
        return
    try:
        reader = ArkReader(path)
    except DataError as error:
        yield str(error)
        return
    indexed: dict[str, dict[int, str]] = defaultdict(dict)
    with reader:
        for key, place in reader.places.items():
            try:
                location = parse_location(place, f"{path}:{key}")
                if location.offset is None or location.ranges:
                    yield from value_faults(f"{path}:{key}", reader.value(key))
                else:
                    yield from index_faults(indexed[location.path], key, location.offset, path)
            except DataError as error:
                yield str(error)
    for ark, keys in indexed.items():
        yield from record_faults(ark, keys)


def index_faults(keys: dict[int, str], key: str, offset: int, path: str) -> Iterator[str]:
    """Note that `key` lies at `offset`; faults if that does not come after the offset before it."""
    last = next(reversed(keys), -1)
    if offset in keys:
        yield f"{path}:{key}: has the offset {offset} of {keys[offset]}"
    elif offset < last:
        yield f"{path}:{key}: offset {offset} comes after {last}"
    keys[offset] = key


def record_faults(ark: str, keys: dict[int, str]) -> Iterator[str]:
    """The faults of an ark's records; `keys` are the index's keys by offset, or empty without an index."""
    waiting, position = dict(keys), -1
    try:
        for record in ark_records(ark, values=True):
            position = record.offset
            key = waiting.pop(position, None)
            if keys and key is None:
                yield f"{ark}:{record.key}: the record at byte {position} is not in the index"
            elif keys and key != record.key:
                yield f"{ark}:{record.key}: the record at byte {position} is {key} in the index"
            yield from value_faults(f"{ark}:{record.key}", record.value)
    except DataError as error:
        yield str(error)
        unread = sum(offset > position for offset in waiting)
        if unread:
            yield f"{ark}: {unread} indexed records behind the damage were not read"
        waiting = {offset: key for offset, key in waiting.items() if offset <= position}
    for offset, key in waiting.items():
        yield f"{ark}:{key}: the index points to byte {offset}, where no record begins"


def value_faults(where: str, value: Value) -> Iterator[str]:
    """A fault if a value is not finite."""
    if isinstance(value, np.ndarray) and not np.isfinite(value).all():
        yield f"{where}: {np.count_nonzero(~np.isfinite(value))} of {value.size} values are NaN or infinite"
