"""Where an episode starts: the target hole, and where the tip of the held pin is above it, sampled from the seed.

Tip relative to the hole's mouth: x and y within ±30 mm, z 30 to 60 mm above; the gripper turned by up to ±0.3 rad about
the vertical. No start breaks a rule: the pin is above the plate, so none is drawn again.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping

from environments.pin_insertion.spec import (
    HOLES,
    START_XY_m,
    START_YAW_rad,
    START_Z_m,
)
from nightlab.pin_box import HOLES as HOLE_PLACES
from nightlab.pin_box import HOLE_PITCH_m

START_KEYS = ("hole", "tip_x_m", "tip_y_m", "tip_z_m", "yaw_rad")
"""Keys of a start, as SimulatorAdmin.teleport takes them and `ResetReport` records them."""
LEVER_m = 0.05
"""Turns a yaw error into a distance."""
RANGES: Mapping[str, tuple[float, float]] = {
    "tip_x_m": (-START_XY_m, START_XY_m),
    "tip_y_m": (-START_XY_m, START_XY_m),
    "tip_z_m": START_Z_m,
    "yaw_rad": (-START_YAW_rad, START_YAW_rad),
}
"""The asked distribution: uniform in each dimension; the hole uniform among the four."""


def sample_start(seed: int) -> dict[str, float]:
    """The start of `seed` (index, m, m, m, rad).

    Uses `random.Random(seed).random()`, whose sequence Python guarantees, so a seed means the same start for ever.
    """
    draw = random.Random(seed).random
    start = {"hole": float(int(HOLES * draw()))}
    return start | {key: low + (high - low) * draw() for key, (low, high) in RANGES.items()}


def asked_cdf(key: str, value: float) -> float:
    """Share of all asked starts whose `key` is at most `value`."""
    if key == "hole":
        return min(1.0, max(0.0, (math.floor(value) + 1) / HOLES))
    low, high = RANGES[key]
    return min(1.0, max(0.0, (value - low) / (high - low)))


def hole_offset(hole: int) -> tuple[float, float]:
    """Mouth of a hole relative to the middle of the plate, (x, y) m in the plate's own frame."""
    u, v = HOLE_PLACES[hole]
    return u * HOLE_PITCH_m, v * HOLE_PITCH_m


def start_distance(asked: Mapping[str, float], achieved: Mapping[str, float]) -> float:
    """How far an achieved start is from the asked one, m: of the tip, or of the yaw at 50 mm.

    For another hole at least the distance between the holes (40 mm or more), so that it never counts as the same start;
    always finite, since JSON knows no infinity.
    """
    off_m = math.dist(*([start[key] for key in ("tip_x_m", "tip_y_m", "tip_z_m")] for start in (asked, achieved)))
    holes_m = math.dist(hole_offset(int(asked["hole"])), hole_offset(int(achieved["hole"])))
    return max(off_m, holes_m, LEVER_m * abs(asked["yaw_rad"] - achieved["yaw_rad"]))
