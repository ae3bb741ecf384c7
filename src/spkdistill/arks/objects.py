"""One Kaldi object at a time: matrices, vectors, integer vectors, wave files and tokens, binary and text.

A binary object is "\\0B", a token (`FM `, `DM `, `FV `, `DV `, `CM `, `CM2 `, `CM3 `), its sizes and numbers;
an integer vector has no token (kaldi/src/matrix/kaldi-matrix.cc, base/io-funcs.h, util/kaldi-holder-inl.h).
A wave file in an archive is its own bytes. Text has brackets and 7 digits. A size is believed only after a
look at the bytes that are there.
"""

import re
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np

from spkdistill.arks.compression import HEADER, compress, decompress_rows
from spkdistill.arks.sources import Mapped, Source, skip_blanks
from spkdistill.errors import ConfigError
from spkdistill.files import replacing

NUMBERS = {"FM": "<f4", "FV": "<f4", "DM": "<f8", "DV": "<f8", "CM": "u1", "CM2": "<u2", "CM3": "u1"}
INTEGERS = np.dtype([("size", "i1"), ("value", "<i4")])  # WriteBasicType<int32>: the type's size, the number
PIECE = re.compile(rb".{1,65536}\S*", re.DOTALL)
PLAIN = bytes(63 if code > 126 or code in b"_\x1c\x1d\x1e\x1f" else code for code in range(256))  # 63 is ?
SIZE = struct.Struct("<bi")
Value = np.ndarray | bytes


class Header(NamedTuple):
    """An object's kind (`FM` ... `CM3`, `int32`, `wav`, `text`), its shape, and the bytes that follow."""

    kind: str
    shape: tuple[int, ...]
    size: int
    minimum: float = 0.0
    span: float = 0.0


def read_matrix(path: str | Path) -> np.ndarray:
    """The matrix (rows, columns) in a file of one Kaldi object; text numbers are read as float64."""
    with reading_object(path) as reader:
        return reader.matrix()


def read_vector(path: str | Path) -> np.ndarray:
    """The vector in a file of one Kaldi object; text numbers are read as float64."""
    with reading_object(path) as reader:
        return reader.vector()


def write_matrix(path: str | Path, array: np.ndarray, binary: bool = True) -> None:
    """Write one float32 or float64 matrix as Kaldi's copy-matrix does."""
    with writing_object(path, binary) as writer:
        writer.matrix(array)


def write_vector(path: str | Path, array: np.ndarray, binary: bool = True) -> None:
    """Write one float32 or float64 vector as Kaldi's copy-vector does."""
    with writing_object(path, binary) as writer:
        writer.vector(array)


@contextmanager
def reading_object(path: str | Path) -> Iterator["ObjectReader"]:
    """Read a file of tokens, vectors and matrices, such as Kaldi's `<Plda>`, to its end."""
    source = Mapped(str(path))
    try:
        yield (reader := ObjectReader(source))
        reader.end()
    finally:
        source.close()


@contextmanager
def writing_object(path: str | Path, binary: bool = True) -> Iterator["ObjectWriter"]:
    """Write a file of tokens, vectors and matrices atomically."""
    with replacing(path, "wb") as file:
        yield ObjectWriter(file, binary)


class ObjectReader:
    """Reads the parts of one Kaldi object in order."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.binary = source.peek(2) == b"\0B"
        if self.binary:
            source.skip(2)

    def expect(self, token: str) -> None:
        """Read `token`, which must come next."""
        found = read_token(self.source)
        if found != token:
            raise self.source.fault(f"expected {token}, found {found!r}")

    def vector(self) -> np.ndarray:
        """Read a vector."""
        return self.array(1)

    def matrix(self) -> np.ndarray:
        """Read a matrix (rows, columns)."""
        return self.array(2)

    def array(self, dimensions: int) -> np.ndarray:
        """Read a vector or a matrix."""
        if self.binary:
            header = read_binary_header(self.source)
            value = decode(header, *self.source.payload(header.size), self.source)
        else:
            skip_blanks(self.source)
            if self.source.peek(1) != b"[":
                raise self.source.fault("expected [, which begins a vector or a matrix")
            value = read_text(self.source, np.float64)
        if value.size == 0:
            value = value.reshape((0,) * dimensions)
        if value.ndim != dimensions:
            raise self.source.fault(
                f"expected a {'vector' if dimensions == 1 else 'matrix'}, found shape {value.shape}"
            )
        return value

    def end(self) -> None:
        """Make sure that nothing is left."""
        skip_blanks(self.source)
        if self.source.peek(1):
            raise self.source.fault("there is more in the file than the object")


class ObjectWriter:
    """Writes the parts of one Kaldi object in order."""

    def __init__(self, file: IO[bytes], binary: bool) -> None:
        self.file, self.binary = file, binary
        if binary:
            file.write(b"\0B")

    def token(self, token: str) -> None:
        """Write a token such as `<Plda>`."""
        self.file.write(f"{token} ".encode())

    def vector(self, array: np.ndarray) -> None:
        """Write a float32 or float64 vector."""
        self.array(array, 1)

    def matrix(self, array: np.ndarray) -> None:
        """Write a float32 or float64 matrix."""
        self.array(array, 2)

    def array(self, array: np.ndarray, dimensions: int) -> None:
        """Write a vector or a matrix."""
        array = np.asarray(array)
        if array.ndim != dimensions or array.dtype.kind != "f":
            raise ConfigError(
                f"cannot write shape {array.shape}, type {array.dtype} as {dimensions} dimensions of floats"
            )
        self.file.write(encode(array)[2:] if self.binary else encode_text(array))


def read_header(source: Source) -> Header:
    """The header of the object at the source's position, which moves on to the numbers (text: stays)."""
    start = source.peek(8)
    if start[:2] == b"\0B":
        source.skip(2)
        return read_binary_header(source)
    if start[:4] == b"RIFF":
        return checked(Header("wav", (), 8 + int.from_bytes(start[4:8], "little")), source)
    return Header("text", (), 0)


def read_binary_header(source: Source) -> Header:
    """The header after "\\0B"."""
    if source.peek(1) == b"\4":
        length = read_size(source)
        return checked(Header("int32", (length,), INTEGERS.itemsize * length), source)
    kind = read_token(source)
    if kind in ("FV", "DV"):
        length = read_size(source)
        return checked(Header(kind, (length,), np.dtype(NUMBERS[kind]).itemsize * length), source)
    if kind in ("FM", "DM"):
        minimum, span, rows, columns = 0.0, 0.0, read_size(source), read_size(source)
    elif kind in NUMBERS:
        minimum, span, rows, columns = HEADER.unpack(source.take(HEADER.size))
    else:
        raise source.fault(f"unknown Kaldi object {kind!r}; known are {', '.join(NUMBERS)}")
    if min(rows, columns) < 0 or (rows == 0) != (columns == 0):
        raise source.fault(f"impossible size {rows} x {columns}")
    size = np.dtype(NUMBERS[kind]).itemsize * rows * columns + (8 * columns if kind == "CM" else 0)
    return checked(Header(kind, (rows, columns), size, minimum, span), source)


def checked(header: Header, source: Source) -> Header:
    """The header, if a mapped file has the bytes it claims; a stream finds out as it reads."""
    if isinstance(source, Mapped):
        left = len(source.buffer) - source.position
        if header.size > left:
            claim = f"{header.kind} of shape {header.shape} needs {header.size} bytes"
            raise source.fault(f"{claim} and {left} are left; the file is cut short")
    return header


def read_size(source: Source) -> int:
    """A size: the byte 4 and an int32."""
    width, value = SIZE.unpack(source.take(SIZE.size))
    if width != 4 or value < 0:
        raise source.fault(f"damaged: not a size ({width}, {value})")
    return value


def read_token(source: Source) -> str:
    """The word before the next whitespace."""
    word = re.match(rb"\s*([!-~]+)\s", source.peek(64))
    if word is None:
        raise source.fault(f"damaged: no token but {source.peek(16)!r}")
    source.skip(word.end())
    return word[1].decode("ascii")


def decode(
    header: Header, buffer: bytes, offset: int, source: Source, first: int = 0, count: int | None = None
) -> np.ndarray:
    """The numbers of a binary object whose header was read, or `count` rows of a matrix from `first` on."""
    kind, dtype = header.kind, np.dtype(NUMBERS.get(header.kind, INTEGERS))
    if len(header.shape) == 1:
        numbers = np.frombuffer(buffer, dtype, header.shape[0], offset)
        if kind != "int32":
            return numbers.astype(dtype.newbyteorder("="))
        if (numbers["size"] != 4).any():
            raise source.fault("damaged: not an int32 vector")
        return numbers["value"].astype(np.int32)
    rows, columns = header.shape
    count = rows - first if count is None else count
    if kind == "CM":
        percentiles = np.frombuffer(buffer, "<u2", 4 * columns, offset).reshape(columns, 4)
        stored = np.frombuffer(buffer, dtype, rows * columns, offset + 8 * columns).reshape(columns, rows)
        return decompress_rows(
            kind, header.minimum, header.span, stored[:, first : first + count], percentiles
        )
    start = offset + first * columns * dtype.itemsize
    stored = np.frombuffer(buffer, dtype, count * columns, start).reshape(count, columns)
    if kind in ("FM", "DM"):
        return stored.astype(dtype.newbyteorder("="))
    return decompress_rows(kind, header.minimum, header.span, stored)


def read_text(source: Source, dtype: type = np.float32) -> np.ndarray:
    """A text object: `[ ... ]` is a vector on one line, a matrix on several; integers have no brackets."""
    while (head := source.peek(1)) in (b" ", b"\t"):
        source.skip(1)
    if head != b"[":
        line = source.through(b"\n")
        if not line.endswith(b"\n"):
            raise source.fault("the line does not end; the file is cut short or no archive")
        return parse_numbers(source, line, np.int32)
    text = source.through(b"]")
    if not text.endswith(b"]"):
        raise source.fault("the closing ] is missing; the file is cut short")
    numbers = parse_numbers(source, text[1:-1].replace(b";", b"\n"), dtype)
    if not re.search(rb"[\n;]", text):
        return numbers
    lengths = np.fromiter((len(row[0].split()) for row in re.finditer(rb"[^\[\];\n]+", text)), np.int64)
    lengths = np.unique(lengths[lengths > 0])
    if len(lengths) > 1:
        raise source.fault(f"the rows of the matrix have {lengths.tolist()} numbers")
    return numbers.reshape(-1, *lengths) if len(lengths) else np.empty((0, 0), dtype)


def parse_numbers(source: Source, text: bytes, dtype: type) -> np.ndarray:
    """The numbers in a text, a piece of it at a time: a word of Python takes thirty times its bytes."""
    pieces = [parse_words(source, piece, dtype) for piece in PIECE.findall(text.translate(PLAIN))]
    return np.concatenate([np.empty(0, dtype), *pieces])


@np.errstate(over="ignore", invalid="ignore")  # what float32 cannot hold is infinite, as in Kaldi
def parse_words(source: Source, text: bytes, dtype: type) -> np.ndarray:
    """The numbers in a piece of ASCII text."""
    words = text.decode("ascii").split()
    try:
        return np.array([int(word) for word in words] if dtype is np.int32 else words, dtype)
    except (ValueError, OverflowError):
        wanted = (
            "an integer, nor a [ that would begin a vector or a matrix" if dtype is np.int32 else "a number"
        )
        bad = next((word for word in words if not is_number(word, dtype)), words[0])
        raise source.fault(f"{bad[:40]!r} is not {wanted}") from None


def is_number(word: str, dtype: type) -> bool:
    """Whether numpy can read `word` as a number of this type."""
    try:
        np.array([int(word) if dtype is np.int32 else word], dtype)
    except (ValueError, OverflowError):
        return False
    return True


def encode(value: np.ndarray, compression: str = "none") -> bytes:
    """The bytes of a binary object: vector or matrix of floats, or vector of integers."""
    if value.ndim == 1 and value.dtype.kind in "iu":
        numbers = np.empty(len(value), INTEGERS)
        numbers["size"], numbers["value"] = 4, value
        return b"\0B" + SIZE.pack(4, len(value)) + numbers.tobytes()
    if value.ndim == 2 and compression != "none" and value.size:
        token, data = compress(value, compression)
        return b"\0B" + token.encode() + b" " + data
    token = {4: "F", 8: "D"}[value.itemsize] + {1: "V", 2: "M"}[value.ndim]
    sizes = b"".join(SIZE.pack(4, length) for length in value.shape)
    return b"\0B" + token.encode() + b" " + sizes + np.ascontiguousarray(value, NUMBERS[token]).tobytes()


def encode_text(value: np.ndarray) -> bytes:
    """The text of an object, with the digits and blanks of Kaldi's `ark,t:`."""
    if value.dtype.kind in "iu":
        return "".join(f"{number} " for number in value.tolist()).encode() + b"\n"
    if value.size == 0:
        return b" [ ]\n"
    if value.ndim == 1:
        return f" [ {format_numbers(value)} ]\n".encode()
    return (" [" + "".join(f"\n  {format_numbers(row)} " for row in value) + "]\n").encode()


def format_numbers(values: np.ndarray) -> str:
    """Numbers as C++ prints them with precision 7, which is what Kaldi sets."""
    return " ".join([f"{value:.7g}" for value in values.tolist()])
