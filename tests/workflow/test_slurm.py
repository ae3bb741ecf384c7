"""The cluster profiles on a real Slurm: the bytes of a run here, also after what happens on clusters."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from runs import MERGED, ROOT, Run, with_one_student
from soak import jobs_of

pytestmark = [pytest.mark.workflow, pytest.mark.slurm, pytest.mark.xdist_group("slurm")]

CLUSTER = ROOT / "tests/slurm/cluster.sh"


class Slurm:
    """The cluster's commands."""

    def ask(self, *command: str) -> str:
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    def jobs(self, states: str, field: str = "%k") -> list[str]:
        """What squeue says of the jobs in any of these states, newest first: their rules or groups."""
        said = self.ask("squeue", "--noheader", f"--states={states}", "--sort=-i", f"--format={field}")
        return said.splitlines()

    def set_node(self, state: str) -> None:
        self.ask("scontrol", "update", "NodeName=localhost", f"State={state}", "Reason=test")


@pytest.fixture(scope="session")
def slurm(tmp_path_factory) -> Iterator[Slurm]:
    """A cluster that is up; where there can be none, a skip that says why, or on CI a failure."""
    cannot = subprocess.run([CLUSTER, "check"], capture_output=True, text=True, check=False)
    if cannot.returncode:
        leave_out = pytest.fail if "SPKDISTILL_SLURM_REQUIRED" in os.environ else pytest.skip
        leave_out(cannot.stderr.strip())
    directory = tmp_path_factory.mktemp("slurm")
    subprocess.run([CLUSTER, "up", directory], check=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SLURM_CONF", str(directory / "etc/slurm.conf"))
        patch.setenv("PATH", str(directory / "bin"), prepend=os.pathsep)
        yield Slurm()
    subprocess.run([CLUSTER, "down", directory], check=True)


@pytest.fixture(scope="session")
def profile(slurm) -> tuple[str, ...]:
    """The options of a run through the Slurm profile, which here may ask for its jobs every second."""
    return (
        *("--workflow-profile", str(ROOT / "workflow/profiles/slurm")),
        *("--slurm-init-seconds-before-status-checks", "1", "--seconds-between-status-checks", "1"),
    )


@pytest.fixture
def lacking(copied: Run, profile) -> Run:
    """A finished run that lost the recordings of a shard, from which all else follows; to go on in Slurm."""
    for kind in "ark", "scp":
        (copied.results / f"data/train/wav.1.{kind}").unlink()
    return replace(copied, executor=profile)


def wait_for(condition: Callable[[], object], seconds: float = 600) -> None:
    """Return when `condition` holds; AssertionError if it does not in time."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"not so within {seconds} s"
        time.sleep(0.1)


def test_a_run_whose_snakemake_is_killed_half_way_gives_in_few_jobs_the_bytes_of_a_run_here(
    copied, finished, profile, slurm
):
    for stage in ("teachers", "targets", "students", "embeddings", "backends", "scores", "metrics", "report"):
        shutil.rmtree(copied.results / stage)
    copied.write_config(with_one_student(copied.config()))
    run = replace(copied, executor=profile)
    process = run.start("scores")
    wait_for(lambda: any("dump" in job for job in slurm.jobs("RUNNING")))
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert slurm.jobs("RUNNING"), "the jobs live on"

    resume = [Path(sys.executable).with_name("spkdistill"), "resume"]
    resumed = subprocess.run(resume, cwd=run.directory, capture_output=True, text=True, check=False)
    said = resumed.stdout + resumed.stderr
    assert resumed.returncode == 0, said
    assert "resume: cancelled Slurm's jobs named " in said

    ours, theirs = run.digests(), finished.digests()
    assert len([name for name in ours if name.startswith(MERGED)]) > 30
    assert ours == {name: theirs[name] for name in ours}
    steps = int(re.search(r"^total +(\d+)$", said, re.MULTILINE)[1])
    assert said.count("has been submitted with SLURM jobid") < steps / 2
    assert "Nothing to be done" in Run(run.directory).finish("--dry-run", "scores")


def test_a_training_that_reaches_its_time_limit_goes_on_with_more_time(copied, tmp_path, profile, slurm):
    config = copied.config()
    config["training"]["teacher"]["epochs"] = 100
    copied.write_config(config)
    shutil.copytree(copied.directory, tmp_path / "here")
    target, log = "teachers/xvector/model.safetensors", copied.results / "logs/teacher/xvector.log"
    log.unlink()

    process = replace(copied, executor=profile).start("results/tiny/" + target)
    wait_for(lambda: log.exists() and "epoch 10," in log.read_text())
    training = next(job for job in jobs_of(copied) if "--name" in job.cmdline())
    training.suspend()  # Slurm sees the limit within half a minute, and then wakes what it signals
    job, limit = slurm.jobs("RUNNING", "%i %l")[0].split()
    slurm.ask("scontrol", "update", f"JobId={job}", "TimeLimit=1")
    Run(tmp_path / "here").finish("results/tiny/" + target)
    said = "".join(process.communicate())

    assert process.returncode == 0, said
    assert f"SLURM-job '{job}' failed" in said
    assert "died with" not in said, "the shell outlives the training, which saves a checkpoint"
    assert (limit, slurm.jobs("all", "%l")[0]) == ("2-00:00:00", "4-00:00:00")
    assert int(re.search(r"going on from step (\d+)", log.read_text())[1]) >= 30
    assert (copied.results / target).read_bytes() == (tmp_path / "here/results/tiny" / target).read_bytes()


def test_a_run_waits_for_a_drained_node(lacking, finished, slurm):
    process = lacking.start("data", "feats")
    wait_for(lambda: slurm.jobs("RUNNING"))
    slurm.set_node("DRAIN")
    try:
        wait_for(lambda: slurm.jobs("PENDING") and not slurm.jobs("RUNNING,COMPLETING"))
        assert process.poll() is None
    finally:
        slurm.set_node("RESUME")
    said = "".join(process.communicate())
    assert process.returncode == 0, said
    assert lacking.digests() == finished.digests()


def test_the_generic_executor_submits_the_same_jobs(lacking, finished):
    profile = "--workflow-profile", str(ROOT / "workflow/profiles/cluster-generic")
    run = replace(lacking, executor=(*profile, "--seconds-between-status-checks", "1"))
    said = run.finish("data", "feats")
    assert run.digests() == finished.digests()
    assert "Submitted group job" in said
