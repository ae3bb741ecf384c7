"""Headers of recordings: how many samples each has, or why it cannot be used."""

import re
from collections.abc import Iterable
from pathlib import Path

from spkdistill.errors import DataError
from spkdistill.files import read_tsv, write_tsv

COLUMNS = ["recording", "samples", "fault"]

Headers = dict[str, int | str]  # recording -> its samples, or why it cannot be used


def write_headers(path: str | Path, headers: Headers) -> None:
    """Write the headers of a shard: recording, samples, and the fault of one that cannot be used."""
    rows = [[id, found, ""] if isinstance(found, int) else [id, "", found] for id, found in headers.items()]
    write_tsv(path, COLUMNS, rows)


def read_headers(paths: Iterable[str | Path]) -> Headers:
    """The headers of all shards; DataError for a row that has neither samples nor a fault."""
    headers: Headers = {}
    for path in paths:
        for recording, samples, fault in read_tsv(path, COLUMNS):
            if not (fault or re.fullmatch(r"\d{1,18}", samples, re.ASCII)):
                raise DataError(f"{path}: {recording} has no number of samples; inspect the set again")
            headers[recording] = fault or int(samples)
    return headers


def one_line(error: DataError) -> str:
    """A reason that fits into a field of a table, whatever is in the location that it quotes."""
    return " ".join(str(error).split())
