"""The processes of this host that work in a directory: Snakemake, and the jobs that outlived it.

A job and all its children carry the working directory in their environment, which they keep when their
parents are killed.
"""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil

from spkdistill.errors import SpkdistillError

MARK = "SPKDISTILL_WORKDIR"
DRIFT = 60  # seconds that a process's start may seem to move: it is counted from the time of booting
GRACE = 60  # seconds from SIGTERM to SIGKILL: a training ends its step and saves a checkpoint


def snakemakes() -> list[int]:
    """The process ids of the Snakemakes that work in the working directory."""
    return [process.pid for process in others() if is_snakemake(process)]


def is_snakemake(process: psutil.Process) -> bool:
    """Whether a process is Snakemake in the working directory, or `spkdistill resume` on its way there.

    Snakemake that an executor started for a job has `--target-jobs`, and does not count.
    """
    with suppress(psutil.Error):
        words = process.cmdline()
        if not words or "--target-jobs" in words or process.cwd() != os.getcwd():
            return False
        program, *rest = (Path(word).name for word in words[:4])
        names = {program, *rest} if program.startswith("python") else {program}
        return "snakemake" in names or ("spkdistill" in names and "resume" in words)
    return False


def end_orphans() -> Iterator[str]:
    """End the jobs of the working directory that outlived Snakemake; yields a line that says so."""
    found = end(psutil.Process.terminate, GRACE)
    killed = end(psutil.Process.kill, 10)
    if stuck := orphans():
        raise SpkdistillError(f"{Path.cwd()}: pid {stuck[0].pid}, a job, cannot be killed; try again later")
    if found:
        how = f", {len(killed)} of them by SIGKILL" if killed else ""
        yield f"ended {len(found)} processes of jobs that had lived on{how}"


def end(signal: Callable[[psutil.Process], None], seconds: float) -> set[psutil.Process]:
    """Send a signal to each orphan once and wait until they are gone; returns those that there were."""
    seen: set[psutil.Process] = set()
    until = time.monotonic() + seconds
    while (left := set(orphans())) and time.monotonic() < until:
        for process in left - seen:
            with suppress(psutil.NoSuchProcess):
                signal(process)
        seen |= left
        time.sleep(0.1)
    return seen


def orphans() -> list[psutil.Process]:
    """The processes that carry the mark of the working directory."""
    return [process for process in others() if marked(process) == os.getcwd()]


def marked(process: psutil.Process) -> str | None:
    """The working directory that a process is a job of."""
    with suppress(psutil.Error):
        return process.environ().get(MARK)
    return None


def others() -> list[psutil.Process]:
    """All processes but this one and those that it was started from."""
    me = psutil.Process()
    mine = {me.pid, *(parent.pid for parent in me.parents())}
    return [process for process in psutil.process_iter() if process.pid not in mine]
