"""Where to compute, set up so that the same input gives the same bytes."""

import os

import torch


def prepare(threads: int) -> torch.device:
    """The CUDA device where there is one, else the CPU with `threads` threads; deterministic either way."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS is deterministic only with it
    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = (
        False  # costs a fifth of the time on short utterances
    )
    torch.set_num_threads(threads)
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
