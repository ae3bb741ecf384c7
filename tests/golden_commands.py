"""The Kaldi commands that made the golden files, read from their README."""

import os
import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import kaldiio
import numpy as np
import pytest

GOLDEN = Path(os.environ.get("SPKDISTILL_SHARED", "../shared")).resolve() / "golden-kaldi"


@dataclass(frozen=True)
class Command:
    """One call of a Kaldi tool; options of --config files come first, as Kaldi reads them."""

    tool: str
    options: dict[str, str]
    arguments: tuple[str, ...]
    then: tuple["Command", ...] = ()  # what its output is piped through
    fails: bool = False

    @property
    def output(self) -> str:
        """The file that the last tool of the pipe writes, relative to the golden folder."""
        return (self.then[-1] if self.then else self).arguments[-1].split(":", 1)[-1].split(",")[0]


def commands(*tools: str) -> list[Command]:
    """Every command of the README that starts with one of `tools`, in order."""
    readme = (GOLDEN / "README.md").read_text()
    found = []
    for block, notes in re.findall(
        r"^```sh\n(.*?)\n```\n(.*?)(?=^```sh|\Z)", readme, re.MULTILINE | re.DOTALL
    ):
        fails = bool(re.search(r"^\(exit status (?!0)", notes, re.MULTILINE))
        found += [parse(line, fails) for line in split_outside_quotes(block, ";")]
    return [command for command in found if command.tool in tools]


def parse(line: str, fails: bool = False) -> Command:
    """A command and the ones it is piped into."""
    stages = []
    for stage in split_outside_quotes(line, "|"):
        words = shlex.split(stage)
        options: dict[str, str] = {}
        for word in words[1:]:
            if found := re.fullmatch(r"--([\w-]+)=(.*)", word):
                options |= read_config(found[2]) if found[1] == "config" else {found[1]: found[2]}
        arguments = tuple(word for word in words[1:] if not re.match(r"--[\w-]+=", word))
        stages.append(Command(words[0] if words else "", options, arguments))
    first = stages[0]
    return Command(first.tool, first.options, first.arguments, tuple(stages[1:]), fails)


def split_outside_quotes(text: str, separator: str) -> list[str]:
    """`text` split at a character that stands outside quotes."""
    pieces = re.split(rf"""{re.escape(separator)}(?=(?:[^"']|"[^"]*"|'[^']*')*$)""", text)
    return [piece.strip() for piece in pieces]


def read_config(name: str) -> dict[str, str]:
    """The options of a Kaldi configuration file."""
    return dict(re.findall(r"^--([\w-]+)=(\S+)", (GOLDEN / name).read_text(), re.MULTILINE))


def cases(make: Callable[[], list[Command]]) -> list:
    """Commands as parameters of a test; where there are no golden files, one that is skipped."""
    if not GOLDEN.is_dir():
        reason = f"no golden Kaldi files at {GOLDEN}; set SPKDISTILL_SHARED"
        return [pytest.param(None, marks=pytest.mark.skip(reason=reason))]
    found = make()
    assert found, "the README has no such command"
    return [pytest.param(command, id=f"{command.tool} {command.output}") for command in found]


def read_table(name: str) -> dict[str, str]:
    """A file of lines "key value", as wav.scp."""
    lines = (GOLDEN / name).read_text().splitlines()
    return {key: value.strip() for key, value in (line.split(None, 1) for line in lines)}


def read_archive(name: str) -> dict[str, np.ndarray]:
    """A Kaldi archive, binary or text, read by kaldiio."""
    return dict(kaldiio.load_ark(str(GOLDEN / name)))
