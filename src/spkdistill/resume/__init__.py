"""Going on after anything: what an interrupted run left behind is cleared away, and it is run again."""

import os
import shlex
import sys
from collections.abc import Sequence
from itertools import chain
from pathlib import Path

from spkdistill.errors import SpkdistillError
from spkdistill.resume.leftovers import remove_private_files, unlock
from spkdistill.resume.processes import MARK, end_orphans, snakemakes
from spkdistill.resume.records import Run, interrupted
from spkdistill.resume.slurm import end_slurm_jobs

SNAKEMAKE = [sys.executable, "-m", "snakemake"]


def resume(arguments: Sequence[str], folder: Path, lost_host: str | None) -> None:
    """Clear away what interrupted runs of the working directory left, then become `snakemake`.

    `arguments` are Snakemake's, given in `folder`; without any, those of the last interrupted run are used.
    Raises SpkdistillError, and has changed nothing, while a run is alive here, or may be on a host other
    than `lost_host`.
    """
    runs = interrupted()
    refuse_what_runs(runs, lost_host)
    if not arguments:
        if not runs:
            raise SpkdistillError(f"{Path.cwd()}: no interrupted run is recorded; give snakemake's arguments")
        arguments, folder = runs[-1].arguments, Path(runs[-1].folder)

    if "--rerun-incomplete" not in arguments:
        arguments = ["--rerun-incomplete", *arguments]
    unlocking = unlock([*SNAKEMAKE, "--unlock", *arguments], folder)
    for done in chain(end_slurm_jobs(), end_orphans(), remove_private_files(), unlocking):
        print(f"resume: {done}", flush=True)
    for run in runs:
        run.end()

    print(f"resume: snakemake {shlex.join(arguments)}", flush=True)
    os.chdir(folder)
    os.environ.pop(MARK, None)
    os.execv(SNAKEMAKE[0], [*SNAKEMAKE, *arguments])


def refuse_what_runs(runs: Sequence[Run], lost_host: str | None) -> None:
    """Raise SpkdistillError where a run of the working directory is alive, or may be."""
    if pids := [*(run.pid for run in runs if run.is_alive()), *snakemakes()]:
        raise SpkdistillError(f"{Path.cwd()}: still running, pid {pids[0]}; stop it first")
    for run in runs:
        if not (run.ended or run.is_here() or run.host == lost_host):
            raise SpkdistillError(
                f"{Path.cwd()}: {run.name} was started on {run.host}, pid {run.pid}; resume it there,"
                f" or with --lost-host {run.host} if that host is gone"
            )
