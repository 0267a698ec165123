"""The examination of the verifier: states whose truth is known, half of them successes, many near the threshold."""

import math
import random
from collections.abc import Mapping

from environments.fusion import GuardBand
from nightlab.contracts import Lease, SimulatorAdmin, Station
from touch_spot import spec
from touch_spot.start import sample_start
from touch_spot.truth import SUCCESS_SCORE

UNSURE_px = 1.5
"""The camera places a centre to about a pixel."""
BAND = GuardBand(
    threshold=SUCCESS_SCORE,
    low=1.0 - (spec.TOUCH_px + UNSURE_px) / spec.PLATE_px,
    high=1.0 - (spec.TOUCH_px - UNSURE_px) / spec.PLATE_px,
)
NEAR_SHARE = 0.1
"""A value within this share of the threshold counts as near it."""


def states(n: int, seed: int = 0) -> list[dict[str, float]]:
    """`n` starts for SimulatorAdmin.teleport, failures and successes in turn."""
    return [_state(bool(number % 2), random.Random(1_000_003 * seed + number)) for number in range(n)]


def _state(success: bool, draw: random.Random) -> dict[str, float]:
    start = sample_start(draw.randrange(2**31))
    near = success or draw.random() < 0.7
    low_px, high_px = (0.0, spec.TOUCH_px) if success else (spec.TOUCH_px + 0.1, 29.0 if near else 90.0)
    off_px, angle = draw.uniform(low_px, high_px), draw.uniform(0.0, 2.0 * math.pi)
    for key, way in (("x", math.cos(angle)), ("y", math.sin(angle))):
        at = start[f"spot_{key}_px"]
        start[f"finger_{key}_px"] = at + off_px * way if 0 <= at + off_px * way <= spec.PLATE_px else at - off_px * way
    return start


async def prepare(
    station: Station, lease: Lease, admin: SimulatorAdmin, state: Mapping[str, float], episode_seed: int
) -> None:
    """Bring the station into a state."""
    await admin.teleport(state, episode_seed)
