"""Files that are complete or absent: written under a private name, synced, then renamed."""

import errno
import json
import os
import re
import socket
from codecs import BOM_UTF8
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import chain
from pathlib import Path
from typing import IO, Any, NamedTuple

from spkdistill.errors import DataError

FULL_DISK = errno.ENOSPC, errno.EDQUOT, errno.EFBIG


def private_name(path: str | Path) -> Path:
    """The temporary name, in the same folder, under which this process writes `path`."""
    path = Path(path)
    return path.with_name(f".{path.name}.tmp.{socket.gethostname()}.{os.getpid()}")


class PrivateParts(NamedTuple):
    """What a private name is made of."""

    path: Path  # what is being written
    host: str
    pid: int


def private_parts(path: str | Path) -> PrivateParts | None:
    """The parts of a name of `private_name`; None where it is another one."""
    path = Path(path)
    if match := re.fullmatch(r"\.(.+)\.tmp\.(.+)\.(\d+)", path.name):
        return PrivateParts(path.with_name(match[1]), match[2], int(match[3]))
    return None


@contextmanager
def replacing(path: str | Path, mode: str = "w") -> Iterator[IO]:
    """Open a file for writing that appears under `path` only when the block ends without an error."""
    path, temporary = Path(path), private_name(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with naming_full_disk(path), open(temporary, mode, encoding=None if "b" in mode else "utf-8") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        with suppress(FileNotFoundError):
            temporary.unlink()


@contextmanager
def naming_full_disk(path: str | Path) -> Iterator[None]:
    """Give the file's name to the error of a disk that is full, which otherwise names none."""
    try:
        yield
    except OSError as error:
        if error.errno in FULL_DISK and error.filename is None:
            error.filename = str(path)
        raise


def write_text(path: str | Path, text: str) -> None:
    """Write `text` to `path` atomically."""
    with replacing(path) as file:
        file.write(text)


def write_json(path: str | Path, value: Any) -> None:
    """Write `value` as sorted, indented JSON; NaN and infinity are refused (ValueError)."""
    write_text(path, json.dumps(value, indent=2, sort_keys=True, allow_nan=False) + "\n")


def read_text(path: str | Path) -> str:
    """The text of a UTF-8 file; DataError names a file that is missing or not text."""
    return decode_text(read_bytes(path), path)


def read_bytes(path: str | Path) -> bytes:
    """The bytes of a file; DataError names one that cannot be read."""
    try:
        return Path(path).read_bytes()
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}") from None


def decode_text(data: bytes, name: str | Path) -> str:
    """The UTF-8 text in `data`, lines ended by newlines; DataError names the file `name` if it is none."""
    if data.startswith(BOM_UTF8):
        raise DataError(f"{name}: begins with a byte order mark (BOM); save it as UTF-8 without one")
    try:
        return data.decode("utf-8").replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError as error:
        raise DataError(f"{name}: not UTF-8 text (byte {error.start})") from None


def read_json(path: str | Path) -> Any:
    """The value in a JSON file; DataError names the file and the line that does not parse."""
    try:
        return json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise DataError(f"{path}:{error.lineno}: not valid JSON ({error.msg})") from None
    except (ValueError, RecursionError) as error:  # a number of thousands of digits; nesting
        raise DataError(f"{path}: JSON beyond all measure ({error})") from None


def read_tsv(path: str | Path, columns: list[str]) -> list[list[str]]:
    """Rows of a tab-separated file whose first line is exactly `columns`."""
    lines = read_text(path).splitlines()
    if not lines or lines[0].split("\t") != columns:
        raise DataError(f"{path}:1: expected the header {' '.join(columns)}")
    rows = [line.split("\t") for line in lines[1:]]
    for number, row in enumerate(rows, start=2):
        if len(row) != len(columns):
            raise DataError(
                f"{path}:{number}: expected {len(columns)} tab-separated fields, found {len(row)}"
            )
    return rows


def write_tsv(path: str | Path, columns: list[str], rows: Iterable[Sequence[Any]]) -> None:
    """Write a header and rows, tab-separated, atomically."""
    with replacing(path) as file:
        file.writelines("\t".join(map(str, row)) + "\n" for row in chain([columns], rows))
