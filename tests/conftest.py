"""Where the shared material lies, or a skip that says it is absent; torch on one thread."""

import os
from collections.abc import Iterator
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


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """torch on one thread: small operations by two, beside other tests, take many times as long."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
