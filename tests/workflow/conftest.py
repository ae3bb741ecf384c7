"""The tiny config, run once for all tests of the workflow."""

import shutil
from pathlib import Path

import pytest
from runs import ROOT, Run


@pytest.fixture(scope="session")
def finished(tmp_path_factory) -> Run:
    """The tiny run, complete; tests that change something take a copy."""
    run = Run(tmp_path_factory.mktemp("tiny"))
    shutil.copy(ROOT / "workflow/configs/tiny.yaml", run.config_file)
    run.finish()
    return run


@pytest.fixture
def copied(finished: Run, tmp_path: Path) -> Run:
    """A copy of the finished run, modification times and Snakemake's records included."""
    shutil.copytree(finished.directory, tmp_path / "copy", symlinks=True)
    return Run(tmp_path / "copy")
