"""`spkdistill <stage> ...`: one subcommand per rule, and the tools a person uses by hand.

Each module of this package adds the subcommands of one room; it parses arguments and calls the room, no more.
A subcommand imports its room when it runs, so that `spkdistill --help` does not wait for torch.
"""

import argparse
import importlib
import json
import math
import os
import signal
import sys
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from spkdistill import __version__
from spkdistill.codehash import code_hash
from spkdistill.errors import ConfigError, SpkdistillError
from spkdistill.files import FULL_DISK, private_parts

if TYPE_CHECKING:
    from spkdistill.provenance import Stage

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
    "doctor",
    "resume",
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one subcommand; errors meant for people become one line on stderr and exit status 1."""
    if arguments is None:
        arguments = sys.argv[1:]
        signal.signal(signal.SIGTERM, stop)
    try:
        return run(parse(arguments)) or 0
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
        advice = "; make room and run again" if error.errno in FULL_DISK else ""
        print(f"spkdistill: error: {where}{error.strerror}{advice}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def run(options: argparse.Namespace) -> int | None:
    """Run the subcommand of parsed arguments; what a stage makes in a run's folder is recorded there."""
    one_of_many = "TORCHELASTIC_RUN_ID" in os.environ and os.environ["RANK"] != "0"  # the first one records
    if "writes" not in options or one_of_many:
        return options.run(options)
    from spkdistill.provenance import recorded

    with recorded(stage_of(options)):
        return options.run(options)


def final_name(path: str) -> str:
    """The name that a person knows a file by: that of an output, where `path` is its private name."""
    parts = private_parts(path)
    return str(parts.path) if parts else path


def stop(number: int, frame: object) -> None:
    """End at a signal as at an error: half-written files are removed on the way."""
    sys.exit(f"spkdistill: error: stopped by {signal.Signals(number).name}")


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The options of a subcommand; one whose defaults have `unknown` is given there what it does not know."""
    parser = build_parser()
    options, unknown = parser.parse_known_args(arguments)
    if hasattr(options, "unknown"):
        options.unknown = unknown
    elif unknown:
        parser.error(f"unrecognized arguments: {' '.join(unknown)}")
    return options


def build_parser() -> argparse.ArgumentParser:
    """The parser of every subcommand."""
    return build_parsers()[0]


@cache
def build_parsers() -> tuple[argparse.ArgumentParser, dict[str, argparse.ArgumentParser]]:
    """The parser of every subcommand, and those of each by name."""
    parser = argparse.ArgumentParser(
        prog="spkdistill", description="Offline distillation for speaker verification."
    )
    parser.add_argument("--version", action="version", version=f"spkdistill {__version__}")
    parser.add_argument("--debug", action="store_true", help="show a traceback for every error")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for room in ROOMS:
        importlib.import_module(f"spkdistill.cli.{room}").add_commands(commands)
    return parser, commands.choices


Paths = str | Callable[[argparse.Namespace], list[Path]]  # an option, or what gives the paths


def stage(
    parser: argparse.ArgumentParser,
    run: Callable[[argparse.Namespace], None],
    code: str | tuple[str, ...],
    reads: Sequence[Paths],
    writes: Sequence[Paths],
) -> None:
    """Make `parser` that of a stage, whose artifacts are recorded.

    `code` names the modules that it runs, below this package: they say when its artifacts are stale. `reads`
    and `writes` name the options whose values are paths; the record is named after the first one written.
    """
    modules = (code,) if isinstance(code, str) else code
    parser.set_defaults(run=run, code=modules, reads=tuple(reads), writes=tuple(writes))


def stage_code(command: str) -> str:
    """The hash of the code that a stage runs; a rule's parameter, so that a change of it reruns the rule."""
    return code_hash(*build_parsers()[1][command].get_default("code"))


def stage_of(options: argparse.Namespace) -> "Stage":
    """What parsed arguments say about a stage."""
    from spkdistill.provenance import Stage

    arguments = vars(options).copy()
    for name in ("command", "run", "code", "debug"):
        del arguments[name]
    reads, writes = arguments.pop("reads"), arguments.pop("writes")
    paths = [all_paths(options, names) for names in (reads, writes)]
    rest = {name: value for name, value in arguments.items() if name not in (*reads, *writes, "work")}
    return Stage(options.command, json.loads(json.dumps(rest, default=str)), options.code, *paths)


def all_paths(options: argparse.Namespace, names: Sequence[Paths]) -> list[Path]:
    """The paths that options hold: one, many, or (name, paths)."""

    def flat(value: object) -> list[Path]:
        if value is None:
            return []
        if isinstance(value, tuple):
            return flat(value[1])
        if isinstance(value, list):
            return [path for each in value for path in flat(each)]
        return [Path(value)]

    found = [name(options) if callable(name) else flat(getattr(options, name)) for name in names]
    return [path for paths in found for path in paths]


def add_settings(parser: argparse.ArgumentParser) -> None:
    """Add `--settings`, the part of the config that a stage depends on, as JSON."""
    text = "settings, as JSON; in several pieces where they are too long for one argument"
    parser.add_argument("--settings", required=True, nargs="+", action=Settings, metavar="JSON", help=text)


class Settings(argparse.Action):
    """Settings in one piece or several, parsed."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Sequence[str],
        option: str | None = None,
    ) -> None:
        """Join the pieces."""
        setattr(namespace, self.dest, parse_settings("".join(values)))


def add_feature_settings(parser: argparse.ArgumentParser) -> None:
    """Add `--feature-settings`, which go with a model."""
    text = "of the features that it reads, as JSON: kept with the model"
    parser.add_argument("--feature-settings", required=True, type=parse_settings, metavar="JSON", help=text)


def add_trust(parser: argparse.ArgumentParser) -> None:
    """Add `--trust`."""
    text = (
        "run the program in a TorchScript file, which may do anything; only for files whose maker you trust"
    )
    parser.add_argument("--trust", action="store_true", help=text)


def at_least(least: int) -> Callable[[str], int]:
    """The type of an argument that is a whole number, `least` or more."""

    def parse(text: str) -> int:
        if not text.isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(f"expected a whole number, {least} or more, found {text}")
        return int(text)

    return parse


def by_name(option: str, pairs: Sequence[tuple[str, Path]]) -> dict[str, Path]:
    """The paths of name=path arguments, by name."""
    paths: dict[str, Path] = {}
    for name, path in pairs:
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
