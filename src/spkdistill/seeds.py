"""Seeds: a stage's randomness comes from (config seed, stage name, item id) and nothing else."""

import hashlib

import numpy as np


def derive_seed(seed: int, stage: str, item: str = "") -> int:
    """A 63-bit seed for one item of one stage, the same in every process and on every machine."""
    digest = hashlib.blake2b(f"{seed}\0{stage}\0{item}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def generator(seed: int, stage: str, item: str = "") -> np.random.Generator:
    """A numpy generator seeded by `derive_seed`."""
    return np.random.default_rng(derive_seed(seed, stage, item))
