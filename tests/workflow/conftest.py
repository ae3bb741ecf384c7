"""The tiny config, run once for all tests of the workflow."""

import shutil
from pathlib import Path

import pytest
from filelock import FileLock
from runs import ROOT, Run


@pytest.fixture(scope="session")
def finished(tmp_path_factory, worker_id: str) -> Run:
    """The tiny run, complete; tests that change it take a copy, and each process of pytest has its own."""
    here = tmp_path_factory.mktemp("tiny")
    if worker_id == "master":
        return finish(here)
    first = tmp_path_factory.getbasetemp().parent / "tiny"
    with FileLock(f"{first}.lock"):
        if not first.exists():
            first.mkdir()
            finish(first)
    return Run(shutil.copytree(first, here, symlinks=True, dirs_exist_ok=True))


def finish(directory: Path) -> Run:
    """The tiny run in a directory."""
    run = Run(directory)
    shutil.copy(ROOT / "workflow/configs/tiny.yaml", run.config_file)
    run.finish()
    return run


@pytest.fixture
def copied(finished: Run, tmp_path: Path) -> Run:
    """A copy of the finished run, modification times and Snakemake's records included."""
    shutil.copytree(finished.directory, tmp_path / "copy", symlinks=True)
    return Run(tmp_path / "copy")
