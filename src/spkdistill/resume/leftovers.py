"""The files that killed processes leave: what stages were writing, and Snakemake's lock."""

import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import psutil

from spkdistill.errors import SpkdistillError
from spkdistill.files import private_parts
from spkdistill.resume.processes import DRIFT

WRITTEN = ("results", ".snakemake/storage")  # where stages write; the second stands for remote storage
REST = 900  # seconds


def remove_private_files() -> Iterator[str]:
    """Remove what dead processes of stages were writing; yields lines that say so."""
    found = [path for folder in WRITTEN for path in Path(folder).rglob(".*") if private_parts(path)]
    left = [path for path in found if not has_writer(path)]
    size = sum(path.stat().st_size for path in left)
    for path in left:
        path.unlink()
    if left:
        yield f"removed {len(left)} half-written files, {size:,} bytes"
    if len(found) > len(left):
        yield f"left {len(found) - len(left)} files that a process may be writing"


def has_writer(path: Path) -> bool:
    """Whether a process may be writing a file with a private name.

    Of another host's processes nothing is known: a file of one is taken to be abandoned once it has rested.
    """
    _, host, pid = private_parts(path)
    changed = path.stat().st_mtime
    if host != socket.gethostname():
        return time.time() - changed < REST
    with suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).create_time() < changed + DRIFT
    return False


def unlock(command: Sequence[str], folder: Path) -> Iterator[str]:
    """Have Snakemake remove its lock; yields a line that says so. SpkdistillError has its last words."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stdout + done.stderr).strip().splitlines()[-1:]
        raise SpkdistillError(f"snakemake --unlock: {' '.join(last)}")
    yield "unlocked the working directory"
