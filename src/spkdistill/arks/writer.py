"""Writing archives: complete or absent, the index last."""

import os
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import numpy as np

from spkdistill.arks.compression import COMPRESSIONS
from spkdistill.arks.objects import Value, encode, encode_text
from spkdistill.errors import ConfigError, DataError
from spkdistill.files import naming_full_disk, private_name


class ArkWriter:
    """Writes an ark and its scp under private names; when the block ends well, renames the ark, then the scp.

    Keys must come sorted and only once (`ordered=False`: in any order, once). Matrices are compressed by one
    of `COMPRESSIONS`; vectors never are, as in Kaldi. NaN and infinity are refused unless `allow_nonfinite`.
    """

    def __init__(
        self,
        ark_path: str | Path,
        scp_path: str | Path | None = None,
        compression: str = "none",
        allow_nonfinite: bool = False,
        ordered: bool = True,
        text: bool = False,
    ) -> None:
        check_compression(compression)
        self.ark_path, self.scp_path = str(ark_path), None if scp_path is None else str(scp_path)
        self.compression, self.text = compression, text
        self.allow_nonfinite, self.ordered = allow_nonfinite, ordered
        self.offset, self.last, self.keys, self.lines = 0, "", set[str](), list[str]()
        for path in filter(None, (self.ark_path, self.scp_path)):
            Path(path).parent.mkdir(parents=True, exist_ok=True)
        self.file = open(private_name(self.ark_path), "wb")  # noqa: SIM115

    def write(self, key: str, value: Value) -> None:
        """Write a float32 or float64 vector or matrix, a vector of integers, or a wave file's bytes."""
        where = f"{self.ark_path}:{key}"
        self.append(key, encode_value(value, where, self.compression, self.text, self.allow_nonfinite))

    def append(self, key: str, data: bytes) -> None:
        """Write the bytes of one entry and remember where they are."""
        check_key(key, self.ark_path)
        if key <= self.last if self.ordered else key in self.keys:
            raise DataError(f"{self.ark_path}:{key}: comes after {self.last}; keys must be sorted and unique")
        prefix = f"{key} ".encode()
        with naming_full_disk(self.ark_path):
            self.file.write(prefix)
            self.file.write(data)
        self.lines.append(f"{key} {self.ark_path}:{self.offset + len(prefix)}\n")
        self.offset += len(prefix) + len(data)
        self.last = key
        if not self.ordered:
            self.keys.add(key)

    def close(self) -> None:
        """Make both files appear; an old index goes first, so that none names an ark it was not made for."""
        with naming_full_disk(self.ark_path):
            sync(self.file)
        if self.scp_path is not None:
            with (
                naming_full_disk(self.scp_path),
                open(private_name(self.scp_path), "w", encoding="utf-8") as scp,
            ):
                scp.writelines(self.lines)
                sync(scp)
            Path(self.scp_path).unlink(missing_ok=True)
        os.replace(private_name(self.ark_path), self.ark_path)
        if self.scp_path is not None:
            os.replace(private_name(self.scp_path), self.scp_path)

    def discard(self) -> None:
        """Remove the private files."""
        with suppress(OSError):  # what is still in the buffer of a full disk
            self.file.close()
        for path in filter(None, (self.ark_path, self.scp_path)):
            with suppress(FileNotFoundError):
                private_name(path).unlink()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            if kind is None:
                self.close()
        finally:
            self.discard()


def encode_value(value: Value, where: str, compression: str, text: bool, allow_nonfinite: bool) -> bytes:
    """The bytes of a value in an archive; DataError, naming `where`, if an archive should not hold it."""
    if isinstance(value, bytes):
        if text:
            raise DataError(f"{where}: is a wave file, which a text archive cannot hold; write a binary one")
        if value[:4] != b"RIFF" or int.from_bytes(value[4:8], "little") + 8 != len(value):
            raise DataError(f"{where}: not the bytes of a RIFF wave file of a known length")
        return value
    array = np.asarray(value)
    check_array(array, where, allow_nonfinite and (compression == "none" or array.ndim == 1))
    try:
        return encode_text(array) if text else encode(array, compression)
    except ValueError as error:
        raise DataError(f"{where}: {error}") from None


def check_compression(name: str) -> None:
    """Raise ConfigError for an unknown compression."""
    if name not in COMPRESSIONS:
        raise ConfigError(f"compression {name!r} is unknown; known are {', '.join(COMPRESSIONS)}")


def check_key(key: str, where: str) -> None:
    """Raise DataError for a key that an archive cannot hold."""
    if not key or set(key) & set(" \t\r\n\f\v"):
        raise DataError(f"{where}: the key {key!r} is empty or has blanks")


def check_array(array: np.ndarray, where: str, allow_nonfinite: bool) -> None:
    """Raise DataError for an array that an archive cannot or should not hold."""
    if array.dtype.kind in "iu" and array.ndim == 1:
        if array.size and (array.min() < -(2**31) or array.max() >= 2**31):
            raise DataError(f"{where}: an integer does not fit into int32")
        return
    if array.dtype not in (np.float32, np.float64) or array.ndim not in (1, 2):
        raise DataError(f"{where}: cannot write shape {array.shape} of type {array.dtype}")
    if array.ndim == 2 and array.size == 0 and array.shape != (0, 0):
        raise DataError(
            f"{where}: Kaldi has no empty matrix of shape {array.shape}; reject the entry instead"
        )
    if not allow_nonfinite and not np.isfinite(array).all():
        raise DataError(
            f"{where}: {np.count_nonzero(~np.isfinite(array))} of {array.size} values are NaN or infinite"
        )


def sync(file: IO) -> None:
    """Bring a file's contents to the disk and close it."""
    file.flush()
    os.fsync(file.fileno())
    file.close()
