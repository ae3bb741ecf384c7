"""What `spkdistill resume` finds, ends, removes and refuses."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from spkdistill import resume
from spkdistill.cli import main
from spkdistill.errors import SpkdistillError
from spkdistill.files import private_name
from spkdistill.resume import leftovers, processes, records, slurm

SLEEP = "import time; time.sleep(600)"
DEAF = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); {SLEEP}"


@pytest.fixture(autouse=True)
def directory(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def start():
    """Start Python with these arguments; it is killed after the test."""
    started = []

    def start(*arguments: object, **options: object) -> subprocess.Popen:
        command = [sys.executable, *map(str, arguments)]
        started.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True, **options))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()


def job_of(directory: Path) -> dict[str, str]:
    """The environment of a job."""
    return {**os.environ, processes.MARK: str(directory)}


def dead_pid() -> int:
    """The id of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def write_record(name="tiny", **changes) -> records.Run:
    run = {"name": name, "host": socket.gethostname(), "pid": dead_pid(), "started": time.time()}
    run |= {"folder": os.getcwd(), "arguments": ["--cores", "2"], "ended": False}
    records.Run(**run | changes).write()
    return records.read(records.path_of(name))


def test_a_live_run_is_named_and_an_ended_one_is_not():
    records.begin("tiny", "/somewhere")
    assert f"pid {os.getpid()}, since" in records.notice("tiny")
    assert records.notice("another") is None
    records.fail("tiny")
    assert records.notice("tiny") is None
    assert [run.folder for run in records.interrupted()] == ["/somewhere"]
    records.begin("tiny", "/somewhere")
    records.succeed("tiny")
    assert records.interrupted() == []


def test_a_killed_run_is_told_how_to_go_on():
    write_record()
    assert records.notice("tiny").startswith("tiny was interrupted: `spkdistill resume`")


def test_a_process_id_that_is_used_again_is_not_the_run():
    write_record(pid=os.getpid(), started=psutil.Process().create_time() - 3600)
    assert "interrupted" in records.notice("tiny")


def test_a_process_id_of_another_host_says_nothing_about_this_one():
    write_record(host="login1", pid=os.getpid(), started=psutil.Process().create_time())
    assert records.notice("tiny").startswith("tiny was interrupted on login1: ")


def test_a_run_does_not_take_back_the_record_of_another_process():
    other = write_record()
    records.succeed("tiny")
    records.fail("tiny")
    assert records.interrupted() == [other]


def test_a_live_run_is_refused_and_nothing_is_touched(start, directory):
    process = start("-c", SLEEP, env=job_of(directory))
    write_record(pid=process.pid, started=psutil.Process(process.pid).create_time())
    with pytest.raises(SpkdistillError, match=f"still running, pid {process.pid}; stop it first"):
        resume.resume([], Path.cwd(), None)
    assert process.poll() is None


def test_a_run_of_another_host_is_refused_unless_that_host_is_said_to_be_lost():
    runs = [write_record(host="login1")]
    for lost in (None, "login2"):
        with pytest.raises(
            SpkdistillError, match=r"started on login1.*--lost-host login1 if that host is gone"
        ):
            resume.refuse_what_runs(runs, lost)
    resume.refuse_what_runs(runs, "login1")
    resume.refuse_what_runs([write_record(host="login1", ended=True)], None)


def test_without_a_record_the_arguments_must_be_given():
    with pytest.raises(SpkdistillError, match="no interrupted run is recorded; give snakemake's arguments"):
        resume.resume([], Path.cwd(), None)


def test_a_damaged_record_is_named_and_left_out(capsys):
    write_record()
    for name, text in {"cut": "{", "list": "[1]", "other": '{"pid": 1}'}.items():
        records.path_of(name).write_text(text)
    assert [run.name for run in records.interrupted()] == ["tiny"]
    said = capsys.readouterr().err
    assert all(f"{name}.json" in said for name in ("cut", "list", "other"))


def test_the_arguments_of_the_last_interrupted_run_are_used(monkeypatch, directory):
    write_record("older", started=time.time() - 50, arguments=["--cores", "1"])
    write_record("newer", arguments=["--cores", "2", "--rerun-incomplete"], folder="/")
    called, unlocked = [], []
    monkeypatch.setattr(os, "execv", lambda program, command: called.append((os.getcwd(), command)))
    monkeypatch.setattr(resume, "unlock", lambda *arguments: unlocked.append(arguments) or iter(()))
    resume.resume([], directory, None)
    snakemake = [sys.executable, "-m", "snakemake"]
    assert called == [("/", [*snakemake, "--cores", "2", "--rerun-incomplete"])]
    assert unlocked == [([*snakemake, "--unlock", "--cores", "2", "--rerun-incomplete"], Path("/"))]
    os.chdir(directory)
    assert [run.ended for run in records.interrupted()] == [True, True]
    resume.resume(["-c", "3", "all"], directory, None)
    assert called[1] == (str(directory), [*snakemake, "--rerun-incomplete", "-c", "3", "all"])


@pytest.mark.parametrize(
    ("arguments", "folder"),
    [
        (["--cores", "2", "all", "-n", "--config", "a=b"], "."),
        (["-d", "below", "--quiet"], "below"),
        (["--directory=below", "-c2"], "below"),
    ],
)
def test_the_command_passes_arguments_on_untouched(monkeypatch, directory, arguments, folder):
    (directory / "below").mkdir()
    called = []
    monkeypatch.setattr(resume, "resume", lambda *given: called.append((os.getcwd(), *given)))
    assert main(["resume", "--lost-host", "login1", *arguments]) == 0
    assert called == [(str(directory / folder), arguments, directory, "login1")]


def test_other_commands_refuse_what_they_do_not_know(capsys):
    with pytest.raises(SystemExit):
        main(["models", "--cores", "2"])
    assert "unrecognized arguments: --cores 2" in capsys.readouterr().err


def test_orphans_and_their_children_are_ended_and_nobody_else(start, directory, monkeypatch):
    monkeypatch.setattr(processes, "GRACE", 2)
    parent = (
        f"import subprocess, sys; print(subprocess.Popen([sys.executable, '-c', '{SLEEP}']).pid, flush=True)"
    )
    job = start("-c", f"{parent}; {SLEEP}", env=job_of(directory))
    deaf = start("-c", DEAF, env=job_of(directory))
    elsewhere = start("-c", SLEEP, env=job_of(directory / "elsewhere"))
    unmarked = start("-c", SLEEP)
    child = psutil.Process(int(job.stdout.readline()))
    deaf.stdout.readline()
    assert list(processes.end_orphans()) == [
        "ended 3 processes of jobs that had lived on, 1 of them by SIGKILL"
    ]
    assert (job.wait(), deaf.wait()) == (-signal.SIGTERM, -signal.SIGKILL)
    assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE
    assert elsewhere.poll() is None
    assert unmarked.poll() is None
    assert list(processes.end_orphans()) == []


def test_snakemake_is_known_by_its_command_and_directory(start, directory):
    (directory / "below").mkdir()
    for name in ("snakemake", "spkdistill", "other"):
        Path(name).write_text(f"print(flush=True); {SLEEP}")
    program = directory / "snakemake"
    wanted = [start(program, "-c2"), start(directory / "spkdistill", "resume")]
    unwanted = [
        start(program, "--target-jobs", "train:"),
        start(program, cwd=directory / "below"),
        start(directory / "other", "snakemake.log"),
        start(directory / "spkdistill", "train"),
    ]
    for process in (*wanted, *unwanted):
        process.stdout.readline()
    assert sorted(processes.snakemakes()) == sorted(process.pid for process in wanted)


def test_private_files_of_dead_processes_are_removed_and_others_kept():
    folder = Path("results/tiny/students/fc8")
    folder.mkdir(parents=True)
    host, long_ago = socket.gethostname(), time.time() - 2 * leftovers.REST
    mine = private_name(folder / "model.safetensors")
    used_again = folder / f".log.tsv.tmp.{host}.{os.getpid()}"
    dead = folder / f".config.json.tmp.{host}.{dead_pid()}"
    theirs, abandoned = folder / ".a.ark.tmp.node7.17", folder / ".b.ark.tmp.node7.cluster.org.17"
    other = [folder / ".hidden", folder / "model.safetensors", folder / ".notes.tmp"]
    for path in (mine, used_again, dead, theirs, abandoned, *other):
        path.write_text("1234")
    for path in (used_again, abandoned):
        os.utime(path, (long_ago, long_ago))
    os.utime(used_again, (1, 1))
    assert list(leftovers.remove_private_files()) == [
        "removed 3 half-written files, 12 bytes",
        "left 2 files that a process may be writing",
    ]
    assert sorted(folder.iterdir()) == sorted([mine, theirs, *other])


@pytest.fixture
def queue(directory, monkeypatch) -> Path:
    """A folder that stands for Slurm's queue: a file is a job, its text the job's name."""
    folder, programs = directory / "queue", directory / "bin"
    folder.mkdir()
    programs.mkdir()
    squeue = 'for job in queue/*; do [ -f "$job" ] || continue; name=$(cat "$job"); case "$*" in'
    squeue += ' *--name=*"$name"*|*--me*) echo "$name";; esac; done'
    scancel = 'for job in queue/*; do case "$*" in *"$(cat "$job")"*) rm "$job";; esac; done'
    for name, script in {"squeue": squeue, "scancel": scancel}.items():
        (programs / name).write_text(f"#!/bin/sh\n{script}\n")
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(programs), prepend=os.pathsep)
    logs = directory / ".snakemake/log"
    logs.mkdir(parents=True)
    (logs / "1.snakemake.log").write_text("SLURM run ID: old-1\n")
    (logs / "2.snakemake.log").write_text("host: vm\nSLURM run ID: mine_a1b2-c3\nmore\n")
    return folder


def test_the_slurm_jobs_of_this_directory_are_cancelled_and_no_others(queue):
    for job, name in {"1": "mine_a1b2-c3", "2": "mine_a1b2-c3", "3": "somebody-elses"}.items():
        (queue / job).write_text(name)
    assert list(slurm.end_slurm_jobs()) == ["cancelled Slurm's jobs named mine_a1b2-c3"]
    assert [path.name for path in queue.iterdir()] == ["3"]
    assert list(slurm.end_slurm_jobs()) == []


def test_slurm_jobs_that_stay_are_an_error(queue, directory, monkeypatch):
    monkeypatch.setattr(slurm, "GRACE", 0)
    (queue / "1").write_text("old-1")
    (directory / "bin/scancel").write_text("#!/bin/sh\n")
    with pytest.raises(SpkdistillError, match="Slurm still has jobs named old-1"):
        list(slurm.end_slurm_jobs())


def test_a_slurm_that_does_not_answer_is_named(queue, directory):
    (directory / "bin/squeue").write_text(
        "#!/bin/sh\necho trying >&2\necho squeue: fatal: no controller >&2\nexit 1\n"
    )
    with pytest.raises(SpkdistillError, match=r"^squeue: fatal: no controller$"):
        list(slurm.end_slurm_jobs())


def test_slurm_is_not_asked_where_no_run_used_it(queue, directory):
    (directory / "bin/squeue").write_text("#!/bin/sh\nexit 1\n")
    for log in (directory / ".snakemake/log").iterdir():
        log.unlink()
    assert list(slurm.end_slurm_jobs()) == []


def test_a_record_is_json_that_a_person_can_read():
    records.begin("tiny", "/somewhere")
    record = json.loads(records.path_of("tiny").read_text())
    assert (record["pid"], record["arguments"], record["folder"]) == (os.getpid(), sys.argv[1:], "/somewhere")
