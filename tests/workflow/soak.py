"""Kill the tiny run again and again, at random moments in every stage; `spkdistill resume` must mend it.

    python tests/workflow/soak.py --kills 100 --seed 0 --directory /tmp/soak

`kills.tsv` in the directory has a row for each kill. Called again, the soak goes on until there are enough.
"""

import argparse
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import psutil
from runs import ROOT, Run

from spkdistill.files import private_parts, write_tsv
from spkdistill.resume import records
from spkdistill.resume.processes import marked

TINY = ROOT / "workflow/configs/tiny.yaml"
KINDS = (
    "SIGKILL of a job's process",
    "SIGKILL of snakemake",
    "SIGKILL of the process group",
    "SIGTERM to snakemake",
    "SIGINT to snakemake",
    "Ctrl-C: SIGINT to the process group",
)
PATIENCE = 1800  # seconds that a Snakemake may take; more is a hang


class Kill(NamedTuple):
    """One kill, and what came of it."""

    run: str
    kind: str
    stage: str
    after: float  # seconds from when the stage was seen to the kill
    lived_on: int  # processes of jobs that outlived Snakemake
    seconds: float  # from the call of `spkdistill resume` to its first job


class Broken(Exception):
    """A run that did not go on as it should."""


class Session:
    """One Snakemake process, in a process group of its own, and what it printed."""

    def __init__(self, run: Run, command: list[str]) -> None:
        self.run, self.log = run, run.directory / f"session-{time.time_ns()}.log"
        with open(self.log, "w") as log:
            self.process = subprocess.Popen(
                command,
                cwd=run.directory,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=heed_interrupts,
            )

    def jobs(self) -> list[str]:
        """The jobs that were started, each by its message, which is its own."""
        return re.findall(r"^Job \d+: (.+)$", self.log.read_text(), re.MULTILINE)

    def finished_jobs(self) -> set[str]:
        """The jobs that were finished."""
        said = self.log.read_text()
        names = dict(re.findall(r"^Job (\d+): (.+)$", said, re.MULTILINE))
        return {names[number] for number in re.findall(r"^Finished jobid: (\d+) ", said, re.MULTILINE)}

    def ended(self) -> bool:
        return self.process.poll() is not None

    def wait(self) -> int:
        try:
            return self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            raise Broken(f"{self.log}: still running after {PATIENCE} s") from None


def heed_interrupts() -> None:
    """What a shell starts in the background ignores SIGINT, and so would all that it starts."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--directory", type=Path, required=True)
    options = parser.parse_args()

    directory = options.directory.resolve()
    reference = Run(directory / "reference")
    if not (reference.results / "report/index.html").exists():
        prepare(reference)
        reference.finish()
    kills, broken = read(directory / "kills.tsv"), 0
    while len(kills) < options.kills and broken < 10:
        run = Run(directory / f"run-{sum(1 for _ in directory.glob('run-*')):03d}")
        draw = random.Random(f"{options.seed} {run.directory.name}")
        try:
            for kill in soak(run, reference, options.kills - len(kills), draw, kills):
                kills.append(kill)
                write(directory / "kills.tsv", kills)
                print(len(kills), *kill, flush=True)
            print(f"{run.directory}: the bytes of the run that was never killed", flush=True)
            shutil.rmtree(run.results)
        except Broken as error:
            broken += 1
            print(f"BROKEN: {run.directory}: {error}", flush=True)
    print(table(kills))
    print(f"{len(kills)} kills, {broken} runs broken")
    return int(broken > 0)


def soak(
    run: Run, reference: Run, limit: int, draw: random.Random, before: Sequence[Kill] = ()
) -> Iterator[Kill]:
    """Make a run, kill and resume it up to `limit` times, and check what comes of it; yields the kills.

    What `before` has least of, kinds and stages, is what is killed next. Raises Broken where a finished job
    is run again, an orphan lives on, or the run ends with other bytes than `reference`, a private file, a
    lock, or something left to do.
    """
    prepare(run)
    session, finished, kills = Session(run, run.command()), set(), list(before)
    enough = len(kills) + limit
    while len(kills) < enough:
        kind = least(KINDS, [kill.kind for kill in kills], draw)
        caught = catch(session, reference, [kill.stage for kill in kills], draw)
        if caught is None:
            break
        stage, after, jobs = caught
        end(session.process, kind, draw.choice(jobs))
        if session.wait() == 0:  # the signal came too late to matter
            break
        finished = check_jobs(session, finished)
        orphans, called = jobs_of(run), time.monotonic()
        session = Session(run, [str(Path(sys.executable).with_name("spkdistill")), "resume"])
        while not (session.jobs() or session.ended()):
            time.sleep(0.1)
        seconds = time.monotonic() - called
        if alive := [job.pid for job in orphans if job.is_running() and job.status() != psutil.STATUS_ZOMBIE]:
            raise Broken(f"{session.log}: orphans live on: {alive}")
        kills.append(Kill(run.directory.name, kind, stage, round(after, 2), len(orphans), round(seconds, 1)))
        yield kills[-1]
    if session.wait() != 0:
        raise Broken(f"{session.log}: exit status {session.process.returncode}")
    check_jobs(session, finished)
    check_end(run, reference)


def prepare(run: Run) -> None:
    """Give a run an empty working directory with its config."""
    shutil.rmtree(run.directory, ignore_errors=True)
    run.directory.mkdir(parents=True)
    shutil.copy(TINY, run.config_file)


def catch(
    session: Session, reference: Run, killed: Sequence[str], draw: random.Random
) -> tuple[str, float, list[psutil.Process]] | None:
    """Wait for a random moment in a stage that was killed least: (stage, seconds into it, processes).

    None if Snakemake ends before.
    """
    run, all_jobs = session.run, stages(reference)
    while not session.ended():
        todo = [stage for stage in all_jobs if stages(run)[stage] < all_jobs[stage]]
        fewest = min(map(killed.count, todo), default=0)
        wanted = {stage for stage in todo if killed.count(stage) == fewest and draw.random() < 0.9}
        while not session.ended() and any(stages(run)[stage] < all_jobs[stage] for stage in wanted):
            time.sleep(0.2)
            if found := wanted.intersection(map(stage_of, jobs_of(run))):
                after = draw.uniform(0, 3)
                time.sleep(after)
                if (jobs := jobs_of(run)) and not session.ended():
                    return min(found), after, jobs
                break
        time.sleep(0.2)
    return None


def stages(run: Run) -> Counter[str]:
    """How many jobs of each stage have a log: a folder of logs is a stage."""
    folder = run.results / "logs"
    return Counter(path.relative_to(folder).parts[0].removesuffix(".log") for path in folder.rglob("*.log"))


def stage_of(job: psutil.Process) -> str | None:
    """The stage whose log a process writes to."""
    with suppress(OSError):
        _, found, log = os.readlink(f"/proc/{job.pid}/fd/1").partition("/results/tiny/logs/")
        return Path(log).parts[0].removesuffix(".log") if found else None
    return None


def jobs_of(run: Run) -> list[psutil.Process]:
    """The processes of a run's jobs."""
    return [process for process in psutil.process_iter() if marked(process) == str(run.directory)]


def least(choices: Sequence[str], taken: Sequence[str], draw: random.Random) -> str:
    """One of the choices that were taken least often."""
    fewest = min(map(taken.count, choices))
    return draw.choice([choice for choice in choices if taken.count(choice) == fewest])


def end(snakemake: subprocess.Popen, kind: str, job: psutil.Process) -> None:
    """Send the signal of a kind of kill."""
    number = signal.SIGKILL if "KILL" in kind else signal.SIGTERM if "TERM" in kind else signal.SIGINT
    if "group" in kind:
        os.killpg(snakemake.pid, number)
    elif "snakemake" in kind:
        snakemake.send_signal(number)
    else:
        with suppress(psutil.NoSuchProcess):
            job.send_signal(number)


def check_jobs(session: Session, finished: set[str]) -> set[str]:
    """All jobs finished so far; Broken if the session ran one again that was finished before."""
    if again := finished.intersection(session.jobs()):
        raise Broken(f"{session.log}: finished before and run again: {sorted(again)}")
    return finished | session.finished_jobs()


def check_end(run: Run, reference: Run) -> None:
    """Broken if a complete run is not what the reference is."""
    ours, theirs = run.digests(), reference.digests()
    if differ := sorted(name for name in ours | theirs if ours.get(name) != theirs.get(name)):
        raise Broken(f"{len(differ)} files differ from the reference: {differ[:5]}")
    snakemake = run.directory / ".snakemake"
    left = [path for path in run.results.rglob(".*") if private_parts(path)]
    left += [*snakemake.glob("locks/*"), *snakemake.glob("incomplete/*")]
    left += [path for path in snakemake.glob("spkdistill/*") if not records.read(path).ended]
    if left:
        raise Broken(f"left behind: {[str(path) for path in left]}")
    if jobs := jobs_of(run):
        raise Broken(f"processes left behind: {[job.pid for job in jobs]}")
    if "Nothing to be done" not in (said := run.finish("--dry-run")):
        raise Broken(f"a dry run of the complete run says: {said}")


def read(path: Path) -> list[Kill]:
    """The kills of a soak that was stopped."""
    if not path.exists():
        return []
    _, *rows = (line.split("\t") for line in path.read_text().splitlines())
    return [Kill(a, b, c, float(d), int(e), float(f)) for a, b, c, d, e, f in rows]


def write(path: Path, kills: Sequence[Kill]) -> None:
    write_tsv(path, list(Kill._fields), [list(kill) for kill in kills])


def table(kills: Sequence[Kill]) -> str:
    """How many kills of each kind each stage had, what they left, and how long it took to go on."""
    lines = [f"{'stage':15}" + "".join(f"{number:>4}" for number in range(1, len(KINDS) + 1)) + "  all"]
    for stage in sorted({kill.stage for kill in kills}):
        counts = [sum(kill.stage == stage and kill.kind == kind for kill in kills) for kind in KINDS]
        lines.append(f"{stage:15}" + "".join(f"{count or '':>4}" for count in counts) + f"{sum(counts):>5}")
    lines.append("")
    for number, kind in enumerate(KINDS, start=1):
        of_kind = [kill for kill in kills if kill.kind == kind]
        if of_kind:
            alive = sum(kill.lived_on > 0 for kill in of_kind)
            seconds = sorted(kill.seconds for kill in of_kind)[len(of_kind) // 2]
            lines.append(f"{number} {kind}: {len(of_kind)}, {alive} left jobs alive, resumed in {seconds} s")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
