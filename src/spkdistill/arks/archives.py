"""Whole archives in order: `ark:`, `scp:`, text and binary, gzip and standard input and output."""

import gzip
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from spkdistill.arks.objects import Header, Value, decode, read_header, read_text
from spkdistill.arks.reader import ArkReader
from spkdistill.arks.scp import LONGEST_KEY
from spkdistill.arks.sources import Source, opened, skip_blanks
from spkdistill.arks.writer import ArkWriter, check_compression, encode_value
from spkdistill.errors import ConfigError, DataError
from spkdistill.files import replacing

KEY = re.compile(rb"(\S+)([ \t]|(?=[\r\n]))")
READ_OPTIONS = {"o", "no", "s", "ns", "cs", "ncs", "t", "b", "bg"}
WRITE_OPTIONS = {"t", "b", "f", "nf"}


@dataclass(frozen=True, slots=True)
class Record:
    """One entry of an archive: key, header, shape, the byte where it begins, its value if that was wanted."""

    key: str
    header: Header
    shape: tuple[int, ...]
    offset: int
    value: Value | None


def read_archive(specifier: str | Path) -> Iterator[tuple[str, Value]]:
    """The keys and values of an archive in order; a wave file's value is its bytes.

    `ark:path`, `scp:path` (options as in `ark,s,cs:` have no effect) or a plain path; `-` is standard input
    and `.gz` is unpacked. DataError names the ark, the key and the byte of damage. Nothing is ever run.
    """
    for record in read_records(specifier):
        yield record.key, record.value


def read_selected(specifier: str | Path, keys: Sequence[str]) -> Iterator[tuple[str, Value]]:
    """Some keys and their values, in the order of `keys`; DataError for one that is not there."""
    kind, path = parse_reading(str(specifier))
    if kind == "scp":
        with ArkReader(path) as reader:
            yield from ((key, reader.value(key)) for key in keys)
        return
    wanted, found = set(keys), {}
    for key, value in read_archive(specifier):
        if key in wanted:
            found[key] = value
        if len(found) == len(wanted):
            break
    for key in keys:
        if key not in found:
            raise DataError(f"{path}:{key}: no such key")
        yield key, found[key]


def subsample(
    entries: Iterable[tuple[str, Value]], every: int, offset: int, where: str
) -> Iterator[tuple[str, np.ndarray]]:
    """The keys of matrices, and of each the rows `offset`, `offset + every`, ... (Kaldi subsample-feats).

    A matrix without such a row is left out. DataError, naming the archive `where`, for what is no matrix.
    """
    for key, value in entries:
        if isinstance(value, bytes) or value.ndim != 2:
            raise DataError(f"{where}:{key}: no matrix, so it has no rows to choose from")
        if len(value) > offset:
            yield key, value[offset::every]


def read_records(specifier: str | Path, values: bool = True) -> Iterator[Record]:
    """The records of an archive in order, without their values if those are not wanted."""
    kind, path = parse_reading(str(specifier))
    yield from (indexed_records(path, values) if kind == "scp" else ark_records(path, values))


def write_archive(
    specifier: str | Path, items: Iterable[tuple[str, Value]], compression: str = "none"
) -> int:
    """Write keys and values in the order they come and return how many.

    `ark:path`, `ark,t:path` (text), `ark,scp:ark,scp` or a plain path; `-` is standard output and `.gz` is
    packed. NaN and infinity are written too, but cannot be compressed.
    """
    options, paths = parse_writing(str(specifier))
    check_compression(compression)
    if "t" in options and compression != "none":
        raise ConfigError(f"{specifier}: text is not compressed; leave the compression out")
    if paths[0] == "-":
        return write_stream(sys.stdout.buffer, items, compression, "t" in options)
    if paths[0].endswith(".gz"):
        with replacing(paths[0], "wb") as packed, gzip.GzipFile("", "wb", 6, packed, mtime=0) as file:
            return write_stream(file, items, compression, "t" in options)
    with ArkWriter(
        *paths, compression=compression, allow_nonfinite=True, ordered=False, text="t" in options
    ) as writer:
        for key, value in items:
            writer.write(key, value)
        return len(writer.lines)


def write_stream(file: IO[bytes], items: Iterable[tuple[str, Value]], compression: str, text: bool) -> int:
    """Write keys and values to an open file and return how many."""
    count = 0
    for key, value in items:
        data = encode_value(value, key, compression, text, allow_nonfinite=True)
        file.write(f"{key} ".encode() + data)
        count += 1
    file.flush()
    return count


def ark_records(path: str, values: bool) -> Iterator[Record]:
    """The records of an ark, binary or text, from its first byte to its last."""
    with opened(path) as source:
        seen: set[str] = set()
        while (key := read_key(source)) is not None:
            if key in seen:
                raise source.fault("the key is there twice")
            seen.add(key)
            yield read_record(source, key, values)
            source.entry = ""


def read_key(source: Source) -> str | None:
    """The next key; None at the end."""
    skip_blanks(source)
    head = source.peek(LONGEST_KEY)
    if not head:
        return None
    if head[:2] == b"\0B":
        raise source.fault("a single Kaldi object, such as a mean or a PLDA model, and no archive with keys")
    found = KEY.match(head)
    try:
        key = found[1].decode()
    except (TypeError, UnicodeDecodeError):
        raise source.fault(f"damaged or no archive: a key is expected, not {head[:16]!r}") from None
    source.skip(found.end())
    source.entry = key
    return key


def read_record(source: Source, key: str, values: bool) -> Record:
    """The record behind a key that was read."""
    start = source.position
    header = read_header(source)
    if header.kind == "text":
        value = read_text(source)
        return Record(key, Header("text", value.shape, source.position - start), value.shape, start, value)
    if not values:
        source.skip(header.size)
        return Record(key, header, header.shape, start, None)
    buffer, offset = source.payload(header.size)
    value = (
        buffer[offset : offset + header.size]
        if header.kind == "wav"
        else decode(header, buffer, offset, source)
    )
    return Record(key, header, header.shape, start, value)


def indexed_records(path: str, values: bool) -> Iterator[Record]:
    """The records of an scp in its order."""
    with ArkReader(path) as reader:
        for key in reader:
            entry = reader.entry(key)
            value = reader.value(key) if values else None
            yield Record(key, entry.header, reader.shape(key), entry.start, value)


def parse_reading(specifier: str) -> tuple[str, str]:
    """The kind (`ark` or `scp`) and the path of a specifier or a plain path."""
    kinds, colon, path = specifier.partition(":")
    kind, *options = kinds.split(",")
    if not colon or kind not in ("ark", "scp"):
        kind, options, path = "scp" if specifier.endswith(".scp") else "ark", [], specifier
    if path.strip().endswith("|") or not path:
        raise ConfigError(f"{specifier!r}: a file or - is expected; commands are not run")
    if unknown := set(options) - READ_OPTIONS:
        raise ConfigError(f"{specifier!r}: unknown option {', '.join(sorted(unknown))} for reading")
    return kind, path


def parse_writing(specifier: str) -> tuple[set[str], list[str]]:
    """The options and the paths (ark, or ark and scp) of a specifier or a plain path."""
    kinds, colon, rest = specifier.partition(":")
    options = kinds.split(",")
    if not colon or options[0] not in ("ark", "scp"):
        options, rest = ["ark"], specifier
    paths = rest.split(",") if "scp" in options else [rest]
    if options[0] != "ark" or not all(paths) or len(paths) != (2 if "scp" in options else 1):
        raise ConfigError(
            f"{specifier!r}: expected ark:FILE, ark,t:FILE or ark,scp:FILE.ark,FILE.scp for writing"
        )
    if len(paths) == 2 and (paths[0] == "-" or paths[0].endswith(".gz")):
        raise ConfigError(
            f"{specifier!r}: an scp needs an ark that can be read from the middle, not - or .gz"
        )
    if rest.strip().startswith("|") or set(options) - WRITE_OPTIONS - {"ark", "scp"}:
        raise ConfigError(f"{specifier!r}: unknown option or a command; neither is done")
    return set(options), paths
