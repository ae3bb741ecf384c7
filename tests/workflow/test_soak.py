"""Runs that are killed and resumed, and two runs at once."""

import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from runs import Run
from soak import KINDS, Session, jobs_of, soak

pytestmark = pytest.mark.workflow


def test_a_run_killed_at_random_moments_ends_as_if_it_never_was(finished, tmp_path):
    draw, kills = random.Random(0), []
    while len(kills) < 12:
        name = f"killed-{len(kills)}"
        for kill in soak(Run(tmp_path / name), finished, 12 - len(kills), draw, kills):
            print(*kill)
            kills.append(kill)
    assert {kill.kind for kill in kills} == set(KINDS)
    assert len({kill.stage for kill in kills}) > 5


def test_a_second_run_and_resume_are_told_of_the_first_in_one_line(copied):
    shutil.rmtree(copied.results / "report")
    first = Session(copied, copied.command())
    while not jobs_of(copied):
        assert not first.ended(), first.log.read_text()
        time.sleep(0.1)
    first.process.send_signal(signal.SIGSTOP)  # so that it lives until the others have spoken
    second = copied.snakemake("--rerun-incomplete")
    assert second.returncode != 0
    said = second.stderr.splitlines()[0]
    assert said.startswith(f"tiny is being made by another snakemake here: pid {first.process.pid}, since")
    command = [Path(sys.executable).with_name("spkdistill"), "resume"]
    resumed = subprocess.run(command, cwd=copied.directory, capture_output=True, text=True, check=False)
    still = f"{copied.directory}: still running, pid {first.process.pid}; stop it first"
    assert (resumed.returncode, resumed.stderr) == (1, f"spkdistill: error: {still}\n")
    first.process.send_signal(signal.SIGCONT)
    assert first.wait() == 0, first.log.read_text()
    assert "Nothing to be done" in copied.finish("--dry-run")
