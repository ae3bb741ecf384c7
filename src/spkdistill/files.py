"""Files that are complete or absent: written under a private name, synced, then renamed."""

import json
import os
from codecs import BOM_UTF8
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from spkdistill.errors import DataError


def private_name(path: str | Path) -> Path:
    """The temporary name, in the same folder, under which this process writes `path`."""
    path = Path(path)
    return path.with_name(f".{path.name}.tmp.{os.getpid()}")


@contextmanager
def replacing(path: str | Path, mode: str = "w") -> Iterator[IO]:
    """Open a file for writing that appears under `path` only when the block ends without an error."""
    path, temporary = Path(path), private_name(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with open(temporary, mode, encoding=None if "b" in mode else "utf-8") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        with suppress(FileNotFoundError):
            temporary.unlink()


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


def write_tsv(path: str | Path, columns: list[str], rows: list[list[Any]]) -> None:
    """Write a header and rows, tab-separated, atomically."""
    lines = ["\t".join(map(str, row)) for row in [columns, *rows]]
    write_text(path, "\n".join(lines) + "\n")
