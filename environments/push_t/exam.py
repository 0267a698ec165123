"""The examination of the Push-T verifier: terminal states whose truth is known, half of them successes.

Drawn in strata, so that the shares do not depend on luck: coverage uniform in 0.95..0.9995 for successes; for failures
20 % uniform within 10 % of the threshold (0.855..0.95), the rest anywhere from there down to none.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from environments.push_t import spec, truth
from environments.push_t.verify import BAND
from nightlab.contracts import Lease, SimulatorAdmin, Station

__all__ = ["BAND", "NEAR_SHARE", "prepare", "states"]

NEAR_SHARE = 0.1
"""A value within this share of the threshold counts as near it."""
HIGHEST = 0.9995
LOWEST = 0.3
NEAR_FAILURES = 0.2


def states(n: int, seed: int = 0) -> list[dict[str, float]]:
    """`n` starts for SimulatorAdmin.teleport, failures and successes in turn."""
    made = [(n + 1) // 2, n // 2]
    lows = [spec.SUCCESS_COVERAGE * (1 - NEAR_SHARE), spec.SUCCESS_COVERAGE]
    return [_state(i // 2 / made[i % 2], bool(i % 2), lows, np.random.default_rng([0xE7A3, seed, i])) for i in range(n)]


def _state(at: float, success: bool, lows: list[float], rng: np.random.Generator) -> dict[str, float]:
    """The state at the share `at` of its stratum."""
    if success:
        return truth.state_of_coverage(lows[1] + (HIGHEST - lows[1]) * at, rng)
    if at < NEAR_FAILURES:
        return truth.state_of_coverage(lows[0] + (lows[1] - lows[0]) * at / NEAR_FAILURES, rng)
    target = LOWEST + (lows[0] - LOWEST) * (at - NEAR_FAILURES) / (1 - NEAR_FAILURES)
    return truth.state_of_coverage(target if rng.uniform() < 0.7 else 0.0, rng)


async def prepare(
    station: Station, lease: Lease, admin: SimulatorAdmin, state: Mapping[str, float], episode_seed: int
) -> None:
    """Bring the station into a state."""
    await admin.teleport(state, episode_seed)
