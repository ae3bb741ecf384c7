"""Values of JSON objects and table rows, checked (DataError says where, what was expected and found)."""

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from spkdistill.errors import DataError


def take(mapping: Any, key: str, kind: type, where: str | Path) -> Any:
    """The value of a key that must be there, of the type that it must have."""
    if not isinstance(mapping, dict):
        raise DataError(f"{where}: expected a JSON object, found {excerpt(mapping)}")
    if key not in mapping:
        raise DataError(f"{where}: {key!r} is missing; make the file again with this version")
    value = mapping[key]
    if not isinstance(value, kind) or isinstance(value, bool):
        raise DataError(f"{where}: {key!r} should be {kind.__name__}, found {excerpt(value)}")
    return value


def take_number(mapping: Any, key: str, where: str | Path) -> float:
    """A finite number, integer or not."""
    value = take(mapping, key, object, where)
    if not isinstance(value, int | float) or not math.isfinite(value):
        raise DataError(f"{where}: {key!r} should be a finite number, found {excerpt(value)}")
    return float(value)


def take_rate(mapping: Any, key: str, where: str | Path) -> float:
    """A fraction from 0 to 1."""
    value = take_number(mapping, key, where)
    if not 0 <= value <= 1:
        raise DataError(f"{where}: {key!r} should be a fraction from 0 to 1, found {value}")
    return value


def take_list(mapping: Any, key: str, where: str, read: Callable[..., float]) -> np.ndarray:
    """A list of numbers, one at least, each checked by `read`: `take_number` or `take_rate`."""
    values = take(mapping, key, list, where)
    if not values:
        raise DataError(f"{where}: {key!r} is empty; make the file again with this version")
    return np.array([read({key: value}, key, where) for value in values])


def written(settings: Mapping[str, Any]) -> str:
    """Settings in a field of a table: `temperature=4 mass="renormalised"`."""
    return " ".join(f"{key}={json.dumps(value)}" for key, value in settings.items())


def number_of(row: Mapping[str, str], column: str, where: str, finite: bool = True) -> float:
    """The number in a field of a table."""
    try:
        value = float(row[column])
    except ValueError:
        value = math.nan
        finite = finite or row[column] != "nan"
    if finite and not math.isfinite(value):
        raise DataError(f"{where}: column {column} should be a number, found {excerpt(row[column])}")
    return value


def excerpt(value: Any) -> str:
    """A value as JSON, cut to fit into an error of one line."""
    text = json.dumps(value)
    return text if len(text) <= 40 else text[:37] + "..."
