"""Where the shared material lies, and what stands in when it is absent: a skip that says so."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of shared material: real Kaldi outputs and corpora."""
    path = Path(os.environ.get("SPKDISTILL_SHARED", "../shared")).resolve()
    if not path.is_dir():
        pytest.skip(f"no shared material at {path}; set SPKDISTILL_SHARED")
    return path


@pytest.fixture(scope="session")
def golden(shared: Path) -> Path:
    """Inputs and outputs of the real Kaldi tools."""
    path = shared / "golden-kaldi"
    if not path.is_dir():
        pytest.skip(f"no golden Kaldi files at {path}; set SPKDISTILL_SHARED")
    return path
