"""Where an episode starts: sampled from the seed as gym-pusht does, without the starts that break the rules.

gym-pusht draws the disc in 50..450, the T's body in 100..400 and its angle in -pi..pi. About 10 % of those starts have
the disc inside the T (physics then flings it) or the T in a wall. They are drawn again, and counted.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

from environments.push_t.spec import AGENT_START_RANGE_px, BLOCK_START_RANGE_px
from nightlab.geometry import agent_overlaps_t, t_touches_wall

START_KEYS = ("agent_x_px", "agent_y_px", "block_x_px", "block_y_px", "block_angle_rad")
"""Keys of a start, as SimulatorAdmin.teleport takes them and `ResetReport` records them."""


def sample_start(seed: int) -> tuple[dict[str, float], int]:
    """The start of `seed` (px, px, px, px, rad) and how many draws broke the rules before it.

    Uses `random.Random(seed).random()`, whose sequence Python guarantees, so a seed means the same start for ever.
    """
    draw = random.Random(seed).random
    rejected = 0
    while True:
        low, high = AGENT_START_RANGE_px
        agent = (low + (high - low) * draw(), low + (high - low) * draw())
        low, high = BLOCK_START_RANGE_px
        pose = (low + (high - low) * draw(), low + (high - low) * draw(), math.pi * (2 * draw() - 1))
        if broken_rule(agent, pose) is None:
            return dict(zip(START_KEYS, (*agent, *pose), strict=True)), rejected
        rejected += 1


def broken_rule(agent_xy_px: Sequence[float], pose: Sequence[float]) -> str | None:
    """Why a start (disc at (x, y) px, T at (x, y, angle) px, px, rad) may not be used, or None."""
    if t_touches_wall(pose):
        return "the T touches a wall"
    if agent_overlaps_t(agent_xy_px, pose):
        return "the disc overlaps the T"
    return None
