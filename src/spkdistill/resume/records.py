"""The record of a run, `.snakemake/spkdistill/<run>.json`: from the start of Snakemake until it succeeds."""

import os
import socket
import sys
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import psutil

from spkdistill.errors import DataError
from spkdistill.files import read_json, write_json
from spkdistill.resume.processes import DRIFT

RECORDS = Path(".snakemake/spkdistill")


@dataclass(frozen=True)
class Run:
    """What is needed to know whether a run is alive, and to start it again."""

    name: str
    host: str
    pid: int
    started: float  # when the process began: process ids are used again
    folder: str  # where Snakemake was called, which `arguments` are relative to
    arguments: list[str]
    ended: bool  # in an orderly way, or `resume` saw to it

    def is_here(self) -> bool:
        """Whether this run was started on this host."""
        return self.host == socket.gethostname()

    def is_alive(self) -> bool:
        """Whether the process of this run lives on this host."""
        with suppress(psutil.NoSuchProcess):
            return self.is_here() and abs(psutil.Process(self.pid).create_time() - self.started) < DRIFT
        return False

    def write(self) -> None:
        """Write the record."""
        write_json(path_of(self.name), asdict(self))

    def end(self) -> None:
        """Record that this run has ended."""
        replace(self, ended=True).write()


def path_of(name: str) -> Path:
    """The record of the run `name`, in the working directory."""
    return RECORDS / f"{name}.json"


def read(path: Path) -> Run:
    """Read a record; DataError if it is not one."""
    try:
        return Run(**read_json(path))
    except TypeError:
        raise DataError(f"{path}: not the record of a run") from None


def begin(name: str, folder: str) -> None:
    """Record that this process makes the run `name`."""
    me = psutil.Process()
    Run(name, socket.gethostname(), me.pid, me.create_time(), folder, sys.argv[1:], ended=False).write()


def succeed(name: str) -> None:
    """Remove the record, if it is of this process."""
    if of_this_process(name):
        path_of(name).unlink()


def fail(name: str) -> None:
    """Record that the run has ended, if the record is of this process."""
    if run := of_this_process(name):
        run.end()


def of_this_process(name: str) -> Run | None:
    """The record of the run `name`, if this process wrote it and not another one that makes the same run."""
    with suppress(DataError):
        run = read(path_of(name))
        return run if run.is_here() and run.pid == os.getpid() else None
    return None


def notice(name: str) -> str | None:
    """One line for a person who starts the run `name` while it is being made, or after it was killed."""
    try:
        run = read(path_of(name))
    except DataError:
        return None
    if run.ended:
        return None
    if run.is_alive():
        since = time.strftime("%Y-%m-%d %H:%M", time.localtime(run.started))
        return f"{name} is being made by another snakemake here: pid {run.pid}, since {since}"
    where = "" if run.is_here() else f" on {run.host}"
    return f"{name} was interrupted{where}: `spkdistill resume` ends what is left of that run and goes on"


def interrupted() -> list[Run]:
    """The runs of the working directory that did not succeed, in the order of their starts."""
    runs = []
    for path in RECORDS.glob("*.json"):
        try:
            runs.append(read(path))
        except DataError as error:
            print(f"resume: {error}; left out", file=sys.stderr)
    return sorted(runs, key=lambda run: run.started)
