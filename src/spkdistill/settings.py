"""Frozen dataclasses from the mappings of a config file, with errors that name the key."""

import types
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from spkdistill.errors import ConfigError

Settings = TypeVar("Settings")


def build(kind: type[Settings], mapping: Mapping[str, Any], where: str) -> Settings:
    """An instance of the dataclass `kind` from `mapping`; `where` is the mapping's place in the config.

    Nested dataclasses are built from nested mappings. The schema supplies defaults and checks values: a key
    that is missing or unknown here (ConfigError) means that the settings did not come through it.
    """
    if not isinstance(mapping, Mapping):
        raise ConfigError(f"{where}: expected a mapping of settings, found {mapping!r}")
    known = [field.name for field in fields(kind)]
    for key in mapping:
        if key not in known:
            raise ConfigError(f"{where}.{key}: no such setting; known are {', '.join(known)}")
    for key in known:
        if key not in mapping:
            raise ConfigError(f"{where}.{key}: this setting is missing")
    hints = get_type_hints(kind)
    return kind(**{key: convert(hints[key], mapping[key], f"{where}.{key}") for key in known})


def convert(hint: Any, value: Any, where: str) -> Any:
    """`value` as the type `hint`: a nested dataclass, a float given as an integer, a list as a tuple."""
    if get_origin(hint) in (Union, types.UnionType):
        if value is None and type(None) in get_args(hint):
            return None
        hint = next(choice for choice in get_args(hint) if choice is not type(None))
    if is_dataclass(hint):
        return build(hint, value, where)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        try:
            return float(value)
        except OverflowError:
            raise ConfigError(f"{where}: a number beyond all measure") from None
    if get_origin(hint) is tuple and isinstance(value, list):
        return tuple(value)
    expected = get_origin(hint) or hint
    if isinstance(expected, type) and (
        not isinstance(value, expected) or (isinstance(value, bool) and hint is not bool)
    ):
        raise ConfigError(f"{where}: expected {expected.__name__}, found {value!r}")
    return value
