"""Random access to archives through their index, by memory map, decoding only what is asked for."""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

import numpy as np

from spkdistill.arks.objects import NUMBERS, Header, Value, decode, read_header, read_text
from spkdistill.arks.scp import parse_location, read_scp, resolve_ranges
from spkdistill.arks.sources import Mapped
from spkdistill.errors import DataError

MOST_FILES = 512
PLAIN = ("FV", "DV", "FM", "DM")  # numbers as they are, none compressed


class Entry(NamedTuple):
    """Where an object lies: file, header, offsets of it and its numbers, the part wanted, a text's value."""

    source: Mapped
    header: Header
    start: int
    offset: int
    part: tuple[slice, ...] | None
    text: np.ndarray | None


class ArkReader:
    """The entries of an scp by key. Files are mapped when first needed and headers are read once.

    An offset must point just behind its own key in the ark, so that an index of another archive is noticed;
    an entry with ranges may have a key of its own.
    """

    def __init__(self, scp_path: str | Path) -> None:
        self.scp_path = str(scp_path)
        self.places = read_scp(scp_path)
        self.sources: dict[str, Mapped] = {}
        self.entries: dict[str, Entry] = {}

    def __len__(self) -> int:
        return len(self.places)

    def __contains__(self, key: str) -> bool:
        return key in self.places

    def __iter__(self) -> Iterator[str]:
        return iter(self.places)

    def keys(self) -> list[str]:
        """The keys in the order of the scp."""
        return list(self.places)

    def __getitem__(self, key: str) -> np.ndarray:
        """The float32 or float64 matrix or vector, or the int32 vector, of a key."""
        entry = self.entry(key)
        if entry.part is None:
            return self.decode(key, entry, 0, None)
        first, last = entry.part[0].start, entry.part[0].stop
        return np.ascontiguousarray(
            self.decode(key, entry, first, last - first)[(slice(None), *entry.part[1:])]
        )

    def value(self, key: str) -> Value:
        """What `[key]` gives, or the bytes of a wave file."""
        entry = self.entry(key)
        if entry.header.kind == "wav":
            return entry.source.buffer[entry.offset : entry.offset + entry.header.size]
        return self[key]

    def shape(self, key: str) -> tuple[int, ...]:
        """The shape of an entry, from its header alone."""
        entry = self.entry(key)
        if entry.part is not None:
            return tuple(part.stop - part.start for part in entry.part)
        return entry.header.shape

    def rows(self, key: str, first: int, frames: int) -> np.ndarray:
        """Rows `first` to `first + frames` of a matrix, float32 (frames, columns); only they are decoded."""
        entry = self.entries.get(key) or self.entry(key)
        shape = self.shape(key)
        if len(shape) != 2 or first < 0 or frames < 0 or first + frames > shape[0]:
            raise DataError(
                f"{self.scp_path}:{key}: rows {first} to {first + frames} of an object of shape {shape}"
            )
        if entry.part is None:
            return narrowed(self.decode(key, entry, first, frames))
        crop = self.decode(key, entry, first + entry.part[0].start, frames)[:, entry.part[1]]
        return narrowed(np.ascontiguousarray(crop))

    def gather(self, keys: Sequence[str], rows: int = 1) -> np.ndarray:
        """The vectors of some keys, of one length, as float32 (keys, dim).

        A matrix of one row is a vector too; with more `rows` matrices of so many are, row after row.
        """
        if not len(keys):
            return np.empty((0, 0), np.float32)
        shape = self.shape(keys[0])
        if len(shape) != 1 and shape[:1] != (rows,):
            raise DataError(f"{self.scp_path}:{keys[0]}: shape {shape}, where vectors belong")
        dim = math.prod(shape)
        batch = np.empty((len(keys), dim), np.float32)
        for row, key in enumerate(keys):
            source, header, _, offset, part, _ = self.entries.get(key) or self.entry(key)
            if header.shape == shape and header.kind in PLAIN and part is None:
                batch[row] = narrowed(np.frombuffer(source.buffer, NUMBERS[header.kind], dim, offset))
            else:
                batch[row] = narrowed(self.vector(key, shape)).ravel()
        return batch

    def vector(self, key: str, shape: tuple[int, ...]) -> np.ndarray:
        """The vector or matrix of a key, which must have this shape."""
        value = self[key]
        if value.shape != shape:
            raise DataError(f"{self.scp_path}:{key}: expected the shape {shape}, found {value.shape}")
        return value

    def decode(self, key: str, entry: Entry, first: int, count: int | None) -> np.ndarray:
        """`count` rows from `first` on of a matrix, or of a vector's values."""
        if entry.header.kind == "wav":
            raise DataError(f"{self.scp_path}:{key}: is a wave file, not numbers")
        if entry.text is None and len(entry.header.shape) == 2:
            entry.source.entry = key
            return decode(entry.header, entry.source.buffer, entry.offset, entry.source, first, count)
        value = entry.text
        if value is not None:
            value = value.copy()
        else:
            value = decode(entry.header, entry.source.buffer, entry.offset, entry.source)
        return value[first : None if count is None else first + count]

    def entry(self, key: str) -> Entry:
        """Find an entry and read its header, once."""
        if key not in self.entries:
            self.entries[key] = self.locate(key)
        return self.entries[key]

    def locate(self, key: str) -> Entry:
        """Read the header of a key's object, checking that the ark has that key there."""
        if key not in self.places:
            raise DataError(f"{self.scp_path}:{key}: no such key")
        where = f"{self.scp_path}:{key}"
        location = parse_location(self.places[key], where)
        source = self.mapped(location.path)
        source.entry, source.position = key, location.offset or 0
        if location.offset is not None:
            check_key_before(source, key, renamed=bool(location.ranges))
        header = read_header(source)
        offset = source.position
        text = None
        if header.kind == "text":
            text = read_text(source)
            header = Header("text", text.shape, source.position - offset)
        part = resolve_ranges(location, header.shape, where) if location.ranges else None
        return Entry(source, header, location.offset or 0, offset, part, text)

    def mapped(self, path: str) -> Mapped:
        """The mapping of a file; when very many are open (an scp of single files), they are closed first."""
        if path not in self.sources:
            if len(self.sources) == MOST_FILES:
                self.close()
            self.sources[path] = Mapped(path)
        return self.sources[path]

    def close(self) -> None:
        """Give the mappings back; a later access maps again."""
        self.entries.clear()
        while self.sources:
            self.sources.popitem()[1].close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


@np.errstate(over="ignore", invalid="ignore")  # what float32 cannot hold is infinite, as in Kaldi
def narrowed(array: np.ndarray) -> np.ndarray:
    """The same as float32."""
    return array.astype(np.float32, copy=False)


def check_key_before(source: Mapped, key: str, renamed: bool) -> None:
    """Raise DataError unless a key and a blank come before the position: this key, unless `renamed`."""
    position, prefix = source.position, f"{key} ".encode()
    if position > len(source.buffer):
        raise source.fault(
            f"the index points past the end of the file's {len(source.buffer)} bytes; write both anew"
        )
    before = source.buffer[max(position - len(prefix), 0) : position]
    if (before[-1:] != b" ") if renamed else (before != prefix):
        raise source.fault(
            f"the index points to no record of this key but behind {before!r}; ark and scp are not a pair"
        )
