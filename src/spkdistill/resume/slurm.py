"""What runs of a directory have in Slurm's queue.

The executor plugin gives all jobs of a run one name, a run id that it writes to Snakemake's log (its 2.8.0:
`Executor.__post_init__`).
"""

import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from spkdistill.errors import SpkdistillError

GRACE = 300  # seconds; Slurm itself goes from SIGTERM to SIGKILL after its KillWait


def end_slurm_jobs() -> Iterator[str]:
    """Cancel the jobs of runs of the working directory, wait for their end, and yield a line that says so."""
    if not (shutil.which("squeue") and (names := job_names())):
        return
    queued = sorted(names.intersection(slurm("squeue", "--me", "--noheader", "--format=%j").split()))
    if not queued:
        return
    slurm("scancel", f"--name={','.join(queued)}")
    until = time.monotonic() + GRACE
    while slurm("squeue", "--noheader", f"--name={','.join(queued)}", "--format=%i").split():
        if time.monotonic() > until:
            raise SpkdistillError(f"Slurm still has jobs named {queued[0]} after scancel; try again later")
        time.sleep(1)
    yield f"cancelled Slurm's jobs named {', '.join(queued)}"


def job_names() -> set[str]:
    """The names of Slurm jobs, one a run, in the logs of every Snakemake of the working directory."""
    logs = (path.read_text(errors="replace") for path in Path(".snakemake/log").glob("*.snakemake.log"))
    return {name for log in logs for name in re.findall(r"SLURM run ID: ([\w-]+)", log)}


def slurm(*command: str) -> str:
    """What a command of Slurm prints; SpkdistillError with its last line if it fails."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip() or f"exit status {done.returncode}").splitlines()[-1]
        raise SpkdistillError(f"{command[0]}: {last.removeprefix(f'{command[0]}: ')}")
    return done.stdout
