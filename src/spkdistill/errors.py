"""The errors a person is meant to read: one line with the file, the entry and the fix."""

from collections.abc import Iterator
from contextlib import contextmanager


class SpkdistillError(Exception):
    """Something outside the program is wrong; the message is one line and needs no traceback."""


class DataError(SpkdistillError):
    """A file or an entry of it is missing, damaged or contradicts another one."""


class ConfigError(SpkdistillError):
    """A setting is unknown, missing, or has a value that is not allowed."""


@contextmanager
def naming(file: object) -> Iterator[None]:
    """Put the file in front of a DataError of code that has numbers and does not know where they are from."""
    try:
        yield
    except DataError as error:
        raise DataError(f"{file}: {error}") from None
