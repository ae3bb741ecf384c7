"""Where to compute, set up so that the same input gives the same bytes."""

import ctypes
import os

import torch

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # of glibc's mallopt(3)


def prepare(threads: int) -> torch.device:
    """The CUDA device where there is one, else the CPU with `threads` threads; deterministic either way."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS is deterministic only with it
    # as use_deterministic_algorithms(True), which imports the compiler: seconds of every job
    torch.set_deterministic_debug_mode("error")
    torch.backends.cudnn.allow_tf32 = False  # float32 means float32; bfloat16 is there for speed
    torch.utils.deterministic.fill_uninitialized_memory = (
        False  # costs a fifth of the time on short utterances
    )
    torch.set_num_threads(threads)
    keep_freed_memory()
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def arithmetic(precision: str, device: torch.device) -> str:
    """What a training's `precision` is on a device: "float32" or "bfloat16"."""
    if precision != "auto":
        return precision
    return "bfloat16" if has_bfloat16(device) else "float32"


def has_bfloat16(device: torch.device) -> bool:
    """Whether the hardware computes in bfloat16; elsewhere torch does at about a tenth of the speed."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return getattr(torch.cpu, "_is_avx512_bf16_supported", bool)()


def keep_freed_memory() -> None:
    """Have the C library reuse freed memory, where it is glibc.

    It would give large blocks back to the system and fault every page in again at each step: up to a third of
    the time that a wide network takes to train on a CPU.
    """
    if mallopt := getattr(ctypes.CDLL(None), "mallopt", None):
        mallopt(M_MMAP_MAX, 0)
        mallopt(M_TRIM_THRESHOLD, -1)
