from __future__ import annotations

import stat
from pathlib import Path

import pytest

from data.seeds import POOL_SIZE, SeedSource, campaign_key, load_key, pool_of
from nightlab.errors import UsageError
from nightlab.records import SeedPool

SOURCE = SeedSource(b"k" * 32)


def test_pools_are_disjoint_and_never_repeat() -> None:
    drawn = {pool: SOURCE.draw(pool, 0, 2000) for pool in SeedPool}
    everything = [seed for seeds in drawn.values() for seed in seeds]
    assert len(set(everything)) == 4 * 2000
    for pool, seeds in drawn.items():
        assert all(0 <= seed < 2**31 and pool_of(seed) is pool for seed in seeds)


def test_the_permutation_is_one_to_one_at_the_ends_of_the_pool() -> None:
    ends = [*SOURCE.draw(SeedPool.SEARCH, 0, 500), *SOURCE.draw(SeedPool.SEARCH, POOL_SIZE - 500, 500)]
    assert len(set(ends)) == 1000


def test_draws_depend_on_index_and_key_only() -> None:
    assert SOURCE.draw(SeedPool.CONFIRM, 10, 5) == SOURCE.draw(SeedPool.CONFIRM, 0, 15)[10:]
    other = SeedSource(campaign_key(b"k" * 32, "C2", 0))
    assert set(other.draw(SeedPool.CONFIRM, 0, 100)).isdisjoint(SOURCE.draw(SeedPool.CONFIRM, 0, 100))
    assert campaign_key(b"k" * 32, "C1", 0) != campaign_key(b"k" * 32, "C1", 1)


def test_seeds_look_random() -> None:
    low = [seed & (POOL_SIZE - 1) for seed in SOURCE.draw(SeedPool.HELD_OUT, 0, 1000)]
    assert 0.45 < sum(low) / len(low) / POOL_SIZE < 0.55
    assert 400 < sum(seed & 1 for seed in low) < 600


def test_the_key_is_made_once_with_mode_0600(tmp_path: Path) -> None:
    path = tmp_path / "campaign.key"
    key = load_key(path)
    assert len(key) == 32
    assert load_key(path) == key
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize(("start", "count"), [(-1, 2), (0, -1), (POOL_SIZE - 1, 2)])
def test_leaving_the_pool_is_refused(start: int, count: int) -> None:
    with pytest.raises(UsageError, match=r"of pool search: a pool has seeds 0…536870911"):
        SOURCE.draw(SeedPool.SEARCH, start, count)


def test_a_foreign_number_belongs_to_no_pool() -> None:
    with pytest.raises(UsageError, match="is no seed of this lab"):
        pool_of(2**31)
