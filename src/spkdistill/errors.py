"""The errors a person is meant to read: one line with the file, the entry and the fix."""

from collections.abc import Iterator
from contextlib import contextmanager

LONGEST = 1000  # characters of a message


class SpkdistillError(Exception):
    """Something outside the program is wrong; the message is one line and needs no traceback."""

    def __str__(self) -> str:
        """The message, cut in the middle where it is long."""
        message = printable(super().__str__())
        if len(message) > LONGEST:
            message = f"{message[: LONGEST // 2]} ... {message[-LONGEST // 2 :]}"
        return message


class DataError(SpkdistillError):
    """A file or an entry of it is missing, damaged or contradicts another one."""


class ConfigError(SpkdistillError):
    """A setting is unknown, missing, or has a value that is not allowed."""


def printable(text: str) -> str:
    """`text` on one line, with what a terminal would obey as repr shows it."""
    return text if text.isprintable() else "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


@contextmanager
def naming(file: object) -> Iterator[None]:
    """Put the file in front of a DataError of code that has numbers and does not know where they are from."""
    try:
        yield
    except DataError as error:
        raise DataError(f"{file}: {error}") from None
