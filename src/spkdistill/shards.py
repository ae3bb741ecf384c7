"""Shards: a fixed split of an ordered list, so that results do not depend on how many there are."""

from collections.abc import Sequence
from typing import TypeVar

from spkdistill.errors import ConfigError

Item = TypeVar("Item")


def shard(items: Sequence[Item], job: int, jobs: int) -> Sequence[Item]:
    """The `job`-th (from 1) of `jobs` contiguous pieces whose lengths differ by one at most."""
    if not 1 <= job <= jobs:
        raise ConfigError(f"shard {job} of {jobs}: shards count from 1 to {jobs}")
    return items[len(items) * (job - 1) // jobs : len(items) * job // jobs]
