"""Kaldi's compressed matrices, to the last bit: kaldi/src/matrix/compressed-matrix.{h,cc}.

A compressed matrix is a header (minimum, range, rows, columns) and unsigned integers. `CM2` stores two bytes
and `CM3` one byte a value, row by row, linear over the header's range. `CM` stores one byte a value, column
by column, linear in three pieces between four percentiles of the column, themselves two-byte integers.
The arithmetic is float32 wherever Kaldi's is: a double here would flip a quantum now and then.
"""

import struct

import numpy as np

HEADER = struct.Struct("<ffii")  # minimum, range, rows, columns

# enum CompressionMethod of compressed-matrix.h; "none" is the plain float matrix.
COMPRESSIONS = {
    "none": 0,
    "auto": 1,
    "speech-feature": 2,
    "two-byte-auto": 3,
    "two-byte-int16": 4,
    "one-byte-auto": 5,
    "one-byte-0-255": 6,
    "one-byte-0-1": 7,
}
CODES = np.arange(256, dtype=np.float32)
FIXED_RANGES = {"two-byte-int16": (-32768, 65535), "one-byte-0-255": (0, 255), "one-byte-0-1": (0, 1)}


def compress(matrix: np.ndarray, method: str) -> tuple[str, bytes]:
    """The token (`CM`, `CM2`, `CM3`) and the bytes after it, for a finite matrix (rows, columns), not empty.

    ValueError when the matrix spans more than a float32 can hold.
    """
    matrix = np.ascontiguousarray(matrix, np.float32)
    if method == "auto":
        method = "speech-feature" if len(matrix) > 8 else "two-byte-auto"
    minimum, span = global_range(matrix, method)
    if not np.isfinite(span):
        raise ValueError("the values span more than float32 can hold; they cannot be compressed")
    header = HEADER.pack(minimum, span, *matrix.shape)
    if method == "speech-feature":
        columns = np.ascontiguousarray(matrix.T)
        percentiles = column_percentiles(columns, minimum, span)
        return "CM", header + percentiles.tobytes() + column_bytes(
            columns, percentiles, minimum, span
        ).tobytes()
    if method.startswith("two-byte"):
        return "CM2", header + quantise(matrix, minimum, span, 65535).astype("<u2").tobytes()
    return "CM3", header + quantise(matrix, minimum, span, 255).astype("u1").tobytes()


@np.errstate(over="ignore", invalid="ignore")  # what float32 cannot hold is infinite, as in Kaldi
def decompress_rows(
    token: str, minimum: float, span: float, stored: np.ndarray, percentiles: np.ndarray | None = None
) -> np.ndarray:
    """The float32 values (rows, columns) of some rows of a compressed matrix.

    `stored` holds their integers, (rows, columns) for CM2 and CM3 and (columns, rows) for CM, which needs
    `percentiles` (columns, 4) too.
    """
    if token == "CM":
        values = column_values(stored, percentiles, np.float32(minimum), np.float32(span))
        return np.ascontiguousarray(values.T)
    # compressed-matrix.cc, CopyToMat: the increment is a double product rounded to float32.
    increment = np.float32(float(span) * (1.0 / (65535.0 if token == "CM2" else 255.0)))
    values = np.multiply(stored, increment, dtype=np.float32)
    values += np.float32(minimum)
    return values


def restored(matrix: np.ndarray, method: str) -> np.ndarray:
    """What is read back of a float32 matrix (rows, columns) that a two-byte method compressed."""
    minimum, span = global_range(matrix, method)
    return decompress_rows("CM2", minimum, span, quantise(matrix, minimum, span, 65535))


def global_range(matrix: np.ndarray, method: str) -> tuple[np.float32, np.float32]:
    """The header's minimum and range (ComputeGlobalHeader)."""
    if method in FIXED_RANGES:
        minimum, span = FIXED_RANGES[method]
        return np.float32(minimum), np.float32(span)
    minimum, maximum = matrix.min(), matrix.max()
    if maximum == minimum:
        maximum = np.float32(float(minimum) + (1.0 + abs(float(minimum))))
    with np.errstate(over="ignore"):
        return minimum, maximum - minimum


def quantise(values: np.ndarray, minimum: np.float32, span: np.float32, steps: int) -> np.ndarray:
    """FloatToUint16 and FloatToUint8: integers 0..steps, rounded with +0.499 as Kaldi does."""
    share = np.clip((values - minimum) / span, np.float32(0), np.float32(1))
    return ((share * np.float32(steps)).astype(np.float64) + 0.499).astype(np.int32)


def column_percentiles(columns: np.ndarray, minimum: np.float32, span: np.float32) -> np.ndarray:
    """ComputeColHeader: 0, 25, 75 and 100 % points of (columns, rows), increasing integers (columns, 4)."""
    rows, ordered = columns.shape[1], np.sort(columns)  # sort is vectorised, partition is not
    if rows >= 5:
        found = quantise(ordered[:, [0, rows // 4, 3 * (rows // 4), rows - 1]], minimum, span, 65535)
    else:  # the values themselves; what is missing follows one step behind
        found = np.zeros((len(columns), 4), np.int32)
        found[:, :rows] = quantise(ordered, minimum, span, 65535)
    found[:, 0] = np.minimum(found[:, 0], 65532)
    for place, highest in ((1, 65533), (2, 65534), (3, 65535)):
        found[:, place] = np.minimum(np.maximum(found[:, place], found[:, place - 1] + 1), highest)
    return found.astype("<u2")


def percentile_values(percentiles: np.ndarray, minimum: np.float32, span: np.float32) -> np.ndarray:
    """Uint16ToFloat: the percentiles (columns, 4) as float32, of shape (4, columns, 1)."""
    values = minimum + span * np.float32(1.52590218966964e-05) * percentiles.astype(np.float32)
    return values.T[:, :, None]


def column_bytes(
    columns: np.ndarray, percentiles: np.ndarray, minimum: np.float32, span: np.float32
) -> np.ndarray:
    """FloatToChar: values (columns, rows) as bytes; 64, 128 and 63 steps between the percentiles."""
    p0, p25, p75, p100 = percentile_values(percentiles, minimum, span)
    below, above = columns < p25, columns >= p75
    low, high = (
        np.where(below, p0, np.where(above, p75, p25)),
        np.where(below, p25, np.where(above, p100, p75)),
    )
    steps = np.where(below, np.float32(64), np.where(above, np.float32(63), np.float32(128)))
    first = np.where(below, np.float32(0), np.where(above, np.float32(192), np.float32(64)))
    with np.errstate(divide="ignore", invalid="ignore"):  # percentiles that float32 cannot tell apart
        share = np.nan_to_num((columns - low) / (high - low) * steps, nan=0, posinf=0, neginf=0)
    np.floor(share.astype(np.float64) + 0.5, out=share, casting="same_kind")
    return (np.clip(share, 0, steps, out=share) + first).astype(np.uint8)


def column_values(
    stored: np.ndarray, percentiles: np.ndarray, minimum: np.float32, span: np.float32
) -> np.ndarray:
    """CharToFloat: the values (columns, rows) of bytes (columns, rows), by a table of 256 for each column.

    Kaldi's products with 1/64 and 1/128 are exact and its sums of two floats in double round to the same
    float32, so that only the last piece needs a double.
    """
    p0, p25, p75, p100 = percentile_values(percentiles, minimum, span)
    table = np.empty((len(stored), 256), np.float32)
    low, middle, high = table[:, :65], table[:, 65:193], table[:, 193:]
    np.add((p25 - p0) * CODES[:65] * np.float32(1 / 64), p0, out=low)
    np.add((p75 - p25) * (CODES[65:193] - 64) * np.float32(1 / 128), p25, out=middle)
    last = ((p100 - p75) * (CODES[193:] - 192)).astype(np.float64)
    np.add(last * (1 / 63), p75, out=high, casting="same_kind")
    places = stored.astype(np.intp)
    places += np.arange(0, table.size, 256)[:, None]
    return table.ravel()[places]
