"""Kaldi script files: a key and the place of its object on each line."""

import re
import sys
from pathlib import Path
from typing import NamedTuple

from spkdistill.errors import DataError
from spkdistill.files import decode_text, read_bytes

LINE = re.compile(r"(\S+)[ \t]+(\S|\S.*\S)[ \t\r]*", re.ASCII)
LONGEST_KEY = 4096  # bytes
LENGTH_TOLERANCE = 3  # rows by which a range may pass the end: kaldi-matrix.cc, ParseMatrixRangeSpecifier


class Location(NamedTuple):
    """A file, a byte offset (None: the file is the object), ranges of rows and columns with both ends."""

    path: str
    offset: int | None
    ranges: tuple[tuple[int, int] | None, ...]


def read_scp(path: str | Path) -> dict[str, str]:
    """Key -> "path", "path:offset" or "path:offset[rows,columns]", in the file's order.

    DataError names the line of a duplicate key, of one without a place, and of a command (`cmd |`), which is
    never run here. The path `-` is standard input.
    """
    name = "standard input" if str(path) == "-" else str(path)
    data = sys.stdin.buffer.read() if str(path) == "-" else read_bytes(path)
    if b" \0B" in data[:LONGEST_KEY]:
        raise DataError(f"{name}: an archive, where its index belongs; give its scp")
    text = decode_text(data, name)
    entries: dict[str, str] = {}
    for number, line in enumerate(text.removesuffix("\n").split("\n") if text else [], start=1):
        fields = LINE.fullmatch(line)
        if not fields:
            raise DataError(f"{name}:{number}: expected a key and a place, found {line!r}")
        key, place = fields.groups()
        if "|" in (place[0], place[-1]):
            raise DataError(f"{name}:{number}: {key} is a command and is not run: {place}")
        if key in entries:
            raise DataError(f"{name}:{number}: {key} is there twice; keep one line for each key")
        entries[key] = place
    return entries


def parse_location(place: str, where: str) -> Location:
    """The parts of a place; `where` names it in messages."""
    path, ranges = place, ()
    if place.endswith("]") and "[" in place:
        path, _, inside = place[:-1].rpartition("[")
        ranges = tuple(parse_range(part, place, where) for part in inside.split(","))
        if len(ranges) > 2:
            raise DataError(f"{where}: {place!r} has {len(ranges)} ranges; rows and columns are two")
    offset = re.fullmatch(r"(.+):(\d{1,18})", path)
    if offset:
        return Location(offset[1], int(offset[2]), ranges)
    return Location(path, None, ranges)


def parse_range(text: str, place: str, where: str) -> tuple[int, int] | None:
    """The first and last index of "first:last"; None for ":" or nothing, which is all of them."""
    if text in ("", ":"):
        return None
    found = re.fullmatch(r"(\d{1,9}):(\d{1,9})", text)
    if not found or int(found[1]) > int(found[2]):
        raise DataError(f"{where}: {text!r} in {place!r} is not a range first:last")
    return int(found[1]), int(found[2])


def resolve_ranges(location: Location, shape: tuple[int, ...], where: str) -> tuple[slice, ...]:
    """The slices of an object of this shape that a location asks for, checked as Kaldi checks them."""
    if len(location.ranges) > len(shape):
        raise DataError(f"{where}: {len(location.ranges)} ranges for an object of shape {shape}")
    slices = []
    for axis, (size, wanted) in enumerate(zip(shape, (*location.ranges, None, None), strict=False)):
        first, last = wanted or (0, size - 1)
        tolerance = LENGTH_TOLERANCE if axis == 0 and len(shape) == 2 else 0
        if wanted and (first >= size or last >= size + tolerance):
            unit = "columns" if axis else "rows"
            raise DataError(f"{where}: the range {first}:{last} passes the end of {size} {unit}")
        slices.append(slice(first, min(last, size - 1) + 1))
    return tuple(slices)
