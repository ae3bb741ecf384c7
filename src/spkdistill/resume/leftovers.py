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

WRITTEN = ("results", ".snakemake/storage")  # where stages write; the second stands for remote storage
REST = 900  # seconds


def remove_private_files() -> Iterator[str]:
    """Remove what dead processes of stages were writing; yields lines that say so."""
    removed = kept = size = 0
    for path in (path for folder in WRITTEN for path in Path(folder).rglob(".*.tmp.*")):
        parts = private_parts(path)
        if parts is None:
            continue
        with suppress(FileNotFoundError):
            status = path.stat()
            if has_writer(parts.host, parts.pid, status.st_mtime):
                kept += 1
            else:
                path.unlink()
                removed, size = removed + 1, size + status.st_size
    if removed:
        yield f"removed {removed} half-written files, {size:,} bytes"
    if kept:
        yield f"left {kept} files that a process may be writing"


def has_writer(host: str, pid: int, changed: float) -> bool:
    """Whether a process may be writing a private file, which was changed at the time `changed`.

    Of another host's processes nothing is known: a file of one is taken to be left once it has rested.
    """
    if host != socket.gethostname():
        return time.time() - changed < REST
    with suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).create_time() <= changed
    return False


def unlock(command: Sequence[str], folder: Path) -> Iterator[str]:
    """Have Snakemake remove its lock; yields a line that says so. SpkdistillError has its last words."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stdout + done.stderr).strip().splitlines()[-1:]
        raise SpkdistillError(f"snakemake --unlock: {' '.join(last)}")
    yield "unlocked the working directory"
