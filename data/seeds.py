"""Seeds: four disjoint pools drawn from a secret key, so that no search can meet a held-out seed.

A seed is a 31-bit number: its two high bits name the pool, its 29 low bits are a keyed permutation of the draw's index.
Pools are therefore disjoint and a pool never repeats a seed, both by construction. Without the key the next seed cannot
be guessed; the key lies in `lab/run` (mode 0600), which no sandbox mounts.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from pathlib import Path

from nightlab.errors import UsageError
from nightlab.records import SeedPool

INDEX_BITS = 29
POOL_SIZE = 1 << INDEX_BITS
"""Seeds per pool."""
_HALF_BITS = 15
_HALF_MASK = (1 << _HALF_BITS) - 1
_ROUNDS = 6
_POOLS = {SeedPool.SEARCH: 0, SeedPool.CONFIRM: 1, SeedPool.HELD_OUT: 2, SeedPool.STATION: 3}


def load_key(path: Path) -> bytes:
    """The lab's 32-byte secret at `path`; made with mode 0600 if it is missing."""
    if not path.exists():
        partial = path.with_name(f".{path.name}.{os.getpid()}")
        descriptor = os.open(partial, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
        try:
            os.write(descriptor, secrets.token_bytes(32))
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        partial.rename(path)
    return path.read_bytes()


def campaign_key(lab_key: bytes, campaign: str, seed: int) -> bytes:
    """The secret of one campaign."""
    return hashlib.blake2b(f"{campaign}:{seed}".encode(), key=lab_key[:64], digest_size=32).digest()


def policy_secret(lab_key: bytes) -> str:
    """What keys the seeds that policies get, so that nobody can find an episode's seed from them by trying."""
    return hashlib.blake2b(b"policy seeds", key=lab_key[:64], digest_size=32).hexdigest()


class SeedSource:
    """Draws seeds by index; the same key and index give the same seed. Holds no state: the keeper counts."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def draw(self, pool: SeedPool, start: int, count: int) -> tuple[int, ...]:
        """Seeds number `start … start + count - 1` of a pool.

        Raises:
            UsageError: the range leaves the pool.
        """
        if start < 0 or count < 0 or start + count > POOL_SIZE:
            raise UsageError(f"seeds {start}…{start + count} of pool {pool.value}: a pool has seeds 0…{POOL_SIZE - 1}")
        high = _POOLS[pool] << INDEX_BITS
        return tuple(high | self._permute(pool, index) for index in range(start, start + count))

    def _permute(self, pool: SeedPool, index: int) -> int:
        """A bijection on [0, 2^29): a Feistel network on 30 bits, walked until it lands inside (2 steps on average)."""
        value = index
        while True:
            left, right = value >> _HALF_BITS, value & _HALF_MASK
            for number in range(_ROUNDS):
                left, right = right, left ^ self._round(pool, number, right)
            value = (left << _HALF_BITS) | right
            if value < POOL_SIZE:
                return value

    def _round(self, pool: SeedPool, number: int, half: int) -> int:
        message = bytes((_POOLS[pool], number)) + half.to_bytes(2, "big")
        return int.from_bytes(hashlib.blake2b(message, key=self._key, digest_size=2).digest(), "big") & _HALF_MASK


def pool_of(seed: int) -> SeedPool:
    """The pool that a seed belongs to."""
    for pool, number in _POOLS.items():
        if seed >> INDEX_BITS == number:
            return pool
    raise UsageError(f"{seed} is no seed of this lab; seeds are 31-bit numbers (see data/seeds.py)")
