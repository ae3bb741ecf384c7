"""Where the bytes of an archive come from: a mapped file, or a stream (standard input, gzip).

Both give bytes in order, know their position for messages, and take no memory for bytes that are not there.
"""

import gzip
import mmap
import os
import stat
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import IO

from spkdistill.errors import DataError

CHUNK = 1 << 22
LONGEST = 1 << 28  # bytes of an entry in a stream, which memory must hold: gzip makes a thousand bytes of one
BLOCK = 1 << 12


class Mapped:
    """A file in memory-mapped form; `position` may be set, and `entry` is the key that messages name."""

    def __init__(self, path: str) -> None:
        self.name, self.entry, self.position = path, "", 0
        try:
            if is_fifo(path):  # to open it would be to wait for who writes to it
                raise DataError(f"{path}: a pipe, which cannot be read from the middle")
            with open(path, "rb") as file:
                size = file.seek(0, 2)
                self.buffer: mmap.mmap | bytes = (
                    mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if size else b""
                )
        except FileNotFoundError:
            raise DataError(f"{path}: no such file") from None
        except (OSError, ValueError) as error:  # ValueError: a NUL in the name
            raise DataError(f"{path}: {getattr(error, 'strerror', None) or error}") from None

    def fault(self, problem: str) -> DataError:
        """The error for a problem at the present position."""
        return fault(self, problem)

    def peek(self, count: int) -> bytes:
        """The next `count` bytes, or fewer at the end, without moving."""
        return self.buffer[self.position : self.position + count]

    def skip(self, count: int) -> None:
        """Move over `count` bytes, which the file must have."""
        left = len(self.buffer) - self.position
        if count > left:
            raise self.fault(f"{count} more bytes are needed and {left} are left; the file is cut short")
        self.position += count

    def take(self, count: int) -> bytes:
        """The next `count` bytes."""
        start = self.position
        self.skip(count)
        return self.buffer[start : self.position]

    def payload(self, count: int) -> tuple[mmap.mmap | bytes, int]:
        """The next `count` bytes as a buffer and an offset into it."""
        start = self.position
        self.skip(count)
        return self.buffer, start

    def through(self, stop: bytes) -> bytes:
        """The bytes up to and including `stop`, or up to the end of the file."""
        found = self.buffer.find(stop, self.position)
        return self.take((len(self.buffer) if found < 0 else found + len(stop)) - self.position)

    def close(self) -> None:
        """Give the mapping back, or leave that to the last array that looks into it."""
        if isinstance(self.buffer, mmap.mmap):
            with suppress(BufferError):
                self.buffer.close()


class Stream:
    """A file that can only be read forwards, with the same methods as `Mapped`."""

    def __init__(self, file: IO[bytes], name: str) -> None:
        self.file, self.name, self.entry, self.position = file, name, "", 0
        self.ahead = bytearray()

    def fault(self, problem: str) -> DataError:
        """The error for a problem at the present position."""
        return fault(self, problem)

    def fill(self) -> bool:
        """Read on by at most a chunk; False at the end."""
        self.hold(len(self.ahead))
        try:
            piece = self.file.read1(CHUNK)
        except (EOFError, OSError, zlib.error) as error:
            raise self.fault(f"damaged or cut short ({error})") from None
        self.ahead += piece
        return bool(piece)

    def peek(self, count: int) -> bytes:
        """The next `count` bytes, or fewer at the end, without moving."""
        while len(self.ahead) < count and self.fill():
            pass
        return bytes(self.ahead[:count])

    def take(self, count: int) -> bytes:
        """The next `count` bytes; memory grows with the bytes that arrive, not with the number asked for."""
        self.hold(count)
        while len(self.ahead) < count:
            if not self.fill():
                raise self.fault(
                    f"{count} more bytes are needed and {len(self.ahead)} are left; it is cut short"
                )
        data = bytes(self.ahead[:count])
        del self.ahead[:count]
        self.position += count
        return data

    def hold(self, count: int) -> None:
        """Raise DataError for more bytes than may be held."""
        if count > LONGEST:
            raise self.fault(
                f"an entry of {count} bytes or more, over the limit of {LONGEST}; unpack it to a file"
            )

    def skip(self, count: int) -> None:
        """Move over `count` bytes."""
        while count:
            count -= len(self.take(min(count, CHUNK)))

    def payload(self, count: int) -> tuple[bytes, int]:
        """The next `count` bytes as a buffer and an offset into it."""
        return self.take(count), 0

    def through(self, stop: bytes) -> bytes:
        """The bytes up to and including `stop`, or up to the end of the stream."""
        searched = 0
        while (found := self.ahead.find(stop, searched)) < 0:
            searched = max(len(self.ahead) - len(stop) + 1, 0)
            if not self.fill():
                return self.take(len(self.ahead))
        return self.take(found + len(stop))


Source = Mapped | Stream


@contextmanager
def opened(path: str) -> Iterator[Source]:
    """The source for a path: `-` is standard input, `.gz` is unpacked, a pipe is read, a file is mapped."""
    if path == "-":
        yield Stream(sys.stdin.buffer, "standard input")
    elif is_fifo(path):
        with open(path, "rb") as file:
            yield Stream(file, path)
    elif path.endswith(".gz"):
        try:
            file = gzip.open(path, "rb")  # noqa: SIM115
        except OSError as error:
            raise DataError(f"{path}: {(error.strerror or str(error)).lower()}") from None
        with file:
            yield Stream(file, path)
    else:
        source = Mapped(path)
        try:
            yield source
        finally:
            source.close()


def is_fifo(path: str) -> bool:
    """Whether a pipe has this name."""
    try:
        return stat.S_ISFIFO(os.stat(path).st_mode)
    except (OSError, ValueError):
        return False


def fault(source: Source, problem: str) -> DataError:
    """The error for a problem at a source's present position, naming the key being read."""
    place = f"{source.name}:{source.entry}" if source.entry else source.name
    return DataError(f"{place}: {problem} (at byte {source.position})")


def skip_blanks(source: Source) -> None:
    """Move a source over white space."""
    while head := source.peek(BLOCK):
        source.skip(len(head) - len(head.lstrip()))
        if head.strip():
            break
