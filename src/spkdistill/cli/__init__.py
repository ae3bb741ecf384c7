"""`spkdistill <stage> ...`: one subcommand per rule, and the tools a person uses by hand.

Each module of this package adds the subcommands of one room; it parses arguments and calls the room, no more.
A subcommand imports its room when it runs, so that `spkdistill --help` does not wait for torch.
"""

import argparse
import importlib
import json
import math
import os
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from spkdistill import __version__
from spkdistill.errors import ConfigError, SpkdistillError

ROOMS = (
    "data",
    "features",
    "views",
    "training",
    "targets",
    "embeddings",
    "backend",
    "metrics",
    "report",
    "ark",
    "models",
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one subcommand; errors meant for people become one line on stderr and exit status 1."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    try:
        options = build_parser().parse_args(arguments)
        options.run(options)
    except SpkdistillError as error:
        if "--debug" in arguments:
            raise
        print(f"spkdistill: error: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:  # `spkdistill ark ls ... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:  # no permission, no space, a file where a folder should be
        if "--debug" in arguments or error.errno is None:
            raise
        where = f"{final_name(error.filename)}: " if error.filename else ""
        print(f"spkdistill: error: {where}{error.strerror}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def final_name(path: str | os.PathLike[str]) -> str:
    """The name that a person knows a file by: that of an output, where `path` is its private name."""
    folder, name = os.path.split(os.fspath(path))
    return os.path.join(folder, re.sub(r"^\.(.+)\.tmp\.\d+$", r"\1", name))


def build_parser() -> argparse.ArgumentParser:
    """The parser of every subcommand."""
    parser = argparse.ArgumentParser(
        prog="spkdistill", description="Offline distillation for speaker verification."
    )
    parser.add_argument("--version", action="version", version=f"spkdistill {__version__}")
    parser.add_argument("--debug", action="store_true", help="show a traceback for every error")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for room in ROOMS:
        importlib.import_module(f"spkdistill.cli.{room}").add_commands(commands)
    return parser


def add_settings(parser: argparse.ArgumentParser) -> None:
    """Add `--settings`, the part of the config that a stage depends on, as JSON."""
    parser.add_argument(
        "--settings", required=True, type=parse_settings, metavar="JSON", help="settings, as JSON"
    )


def at_least(least: int) -> Callable[[str], int]:
    """The type of an argument that is a whole number, `least` or more."""

    def parse(text: str) -> int:
        if not text.isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(f"expected a whole number, {least} or more, found {text}")
        return int(text)

    return parse


def by_name(option: str, pairs: Sequence[str]) -> dict[str, Path]:
    """The paths of name=path arguments, by name."""
    paths: dict[str, Path] = {}
    for pair in pairs:
        name, path = named_path(option, pair)
        if name in paths:
            raise ConfigError(f"{option} {name}: given twice")
        paths[name] = path
    return paths


def named_path(option: str, text: str) -> tuple[str, Path]:
    """The name and the path of a name=path argument."""
    name, equals, path = text.partition("=")
    if not (name and equals and path):
        raise ConfigError(f"{option} {text}: expected NAME=PATH")
    return name, Path(path)


def share(text: str) -> float:
    """The type of an argument that is a share, from 0 to 1."""
    value = number(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"expected a share from 0 to 1, found {text}")
    return value


def number(text: str) -> float:
    """The type of an argument that is a finite number."""
    try:
        value = float(text)
    except ValueError:
        value = math.inf
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"expected a number, found {text}")
    return value


def parse_settings(text: str) -> dict:
    """The JSON object of a `--settings` argument."""
    try:
        settings = json.loads(text)
    except json.JSONDecodeError as error:
        raise ConfigError(f"--settings: not valid JSON ({error.msg} at character {error.pos})") from None
    except (ValueError, RecursionError) as error:  # a number of thousands of digits; nesting
        raise ConfigError(f"--settings: JSON beyond all measure ({error})") from None
    if not isinstance(settings, dict):
        raise ConfigError("--settings: expected a JSON object")
    return settings
