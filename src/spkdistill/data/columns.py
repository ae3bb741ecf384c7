"""Lists of trials and scores, millions of lines long: read in blocks, and names become numbers on the way."""

import os
import re
import stat
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import IO, NoReturn
from warnings import catch_warnings

import numpy as np
import pandas as pd
from pandas.errors import ParserWarning

from spkdistill.errors import DataError

BLOCK_LINES = 1 << 19  # read at a time
SIDES = ("enrol", "test")  # columns that share one list of names
SHOWN = 100  # characters of a line in an error


def read_columns(
    path: Path, columns: Sequence[str], form: str, numbers: Collection[str] = (), header: bool = False
) -> tuple[list[str], dict[str, np.ndarray | pd.Categorical]]:
    """The sorted names of the columns enrol and test, and every column of the file.

    enrol and test are int32 indices into the names, `numbers` float64, and any other column is categorical
    with sorted values. DataError names the first line without one field for each column, as `form` says.
    """
    codebooks: dict[str, dict[str, int]] = {column: {} for column in columns} | {"names": {}}
    blocks: dict[str, list[np.ndarray]] = {column: [] for column in columns}
    try:
        with catch_warnings(action="error", category=ParserWarning):
            for frame in read_blocks(path, columns, header):
                for column in columns:
                    values = frame[column].to_numpy()
                    book = codebooks["names" if column in SIDES else column]
                    blocks[column].append(
                        values.astype(np.float64) if column in numbers else encode(values, book)
                    )
    except (ValueError, ParserWarning):  # a line that is too long, or a number that is none
        refuse(path, columns, form, numbers, header)
    if any("" in codebook for codebook in codebooks.values()):  # a line that is too short
        refuse(path, columns, form, numbers, header)
    names, rank = ranked(codebooks["names"])
    read: dict[str, np.ndarray | pd.Categorical] = {}
    for column in columns:
        values = np.concatenate(
            [*blocks.pop(column), np.empty(0, np.float64 if column in numbers else np.int32)]
        )
        if column in SIDES:
            read[column] = rank[values]
        elif column in numbers:
            read[column] = values
        else:
            categories, order = ranked(codebooks[column])
            read[column] = pd.Categorical.from_codes(order[values], categories)
    return names, read


def read_blocks(path: Path, columns: Sequence[str], header: bool) -> Iterator[pd.DataFrame]:
    """The fields of the file as they stand, "" where a line lacks one; ValueError where it has too many."""
    spare = "\0"  # a column for the field that a first line may have too many
    with opened(path, "rb") as file:
        blocks = pd.read_csv(
            file,
            sep=r"\s+",
            names=[*columns, spare],
            skiprows=int(header),
            index_col=False,
            dtype=object,  # and not category, which takes 7 and 007 for one number
            na_filter=False,
            quoting=3,
            skip_blank_lines=False,
            encoding="utf-8",
            chunksize=BLOCK_LINES,
        )
        for frame in blocks:
            if (frame[spare] != "").any():
                raise ValueError
            yield frame


@contextmanager
def opened(path: Path, mode: str = "r", encoding: str | None = None) -> Iterator[IO]:
    """A list that is open; DataError where it cannot be read, or is a pipe, which cannot be read again."""
    try:
        with open(path, mode, encoding=encoding) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise DataError(f"{path}: not a regular file; write it to a file first")
            yield file
    except UnicodeDecodeError:
        raise DataError(f"{path}: not UTF-8 text") from None
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}") from None


def encode(values: np.ndarray, codebook: dict[str, int]) -> np.ndarray:
    """The number of each value in `codebook`, to which new values are added."""
    codes, found = pd.factorize(values)
    return np.array([codebook.setdefault(value, len(codebook)) for value in found], dtype=np.int32)[codes]


def ranked(codebook: dict[str, int]) -> tuple[list[str], np.ndarray]:
    """The values of a codebook, sorted, and the place there of each of its numbers."""
    names = sorted(codebook)
    rank = np.empty(len(names), dtype=np.int32)
    rank[[codebook[name] for name in names]] = np.arange(len(names), dtype=np.int32)
    return names, rank


def first_fields(path: Path) -> list[str]:
    """The fields of the first line; none where the file is empty."""
    return next((fields_of(line) for line in lines_from(path, 1)), [])


def line_at(path: Path, number: int) -> str:
    """Line `number`, counted from 1, as far as an error shows it."""
    return shown(next(lines_from(path, number)))


def shown(line: str) -> str:
    """A line, cut where it is too long for an error."""
    return line if len(line) <= SHOWN else line[:SHOWN] + "..."


def lines_from(path: Path, number: int) -> Iterator[str]:
    """The lines of a file from `number` on, without their ends."""
    with opened(path, encoding="utf-8") as file:
        yield from (line.removesuffix("\n") for line in islice(file, number - 1, None))


def fields_of(line: str) -> list[str]:
    """The fields of a line, as pandas finds them: between spaces and tabs alone."""
    return re.findall(r"[^ \t]+", line)


def refuse(path: Path, columns: Sequence[str], form: str, numbers: Collection[str], header: bool) -> NoReturn:
    """DataError with the first line that has a field too many or too few, or something else for a number."""
    first = 1 + int(header)
    for line_number, line in enumerate(lines_from(path, first), start=first):
        fields = fields_of(line)
        if len(fields) != len(columns) or not all(
            is_number(field) for field, column in zip(fields, columns, strict=True) if column in numbers
        ):
            raise DataError(f"{path}:{line_number}: expected `{form}`, found {shown(line)!r}")
    raise DataError(f"{path}: expected lines `{form}`")


def is_number(text: str) -> bool:
    """Whether Python takes `text` for a float."""
    try:
        float(text)
    except ValueError:
        return False
    return True
