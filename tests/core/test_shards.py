"""Seeds and shards: the same item has the same randomness, and every item has one shard."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spkdistill.errors import ConfigError
from spkdistill.seeds import derive_seed
from spkdistill.shards import shard


@given(st.integers(0, 200), st.integers(1, 60))
def test_shards_are_a_partition_in_order_with_even_lengths(count, jobs):
    items = list(range(count))
    pieces = [shard(items, job, jobs) for job in range(1, jobs + 1)]
    assert [item for piece in pieces for item in piece] == items
    assert max(map(len, pieces)) - min(map(len, pieces)) <= 1


@pytest.mark.parametrize("job", [0, 3])
def test_a_shard_outside_the_range_is_refused(job):
    with pytest.raises(ConfigError, match=f"shard {job} of 2"):
        shard([1, 2, 3], job, 2)


def test_seeds_differ_by_seed_stage_and_item_and_never_change():
    assert derive_seed(0, "views", "utt") == 257465238411496066
    assert len({derive_seed(s, stage, item) for s in (0, 1) for stage in "ab" for item in ("", "x")}) == 8
    assert derive_seed(0, "ab", "c") != derive_seed(0, "a", "bc")
