"""Primitives of a Push-T station: the pusher drives in a straight line, and pushes what stands in its way.

`home` goes to (256, 400) px. `move_to_pose` takes a pose (x, y) in px, 0 to 512, origin top left.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from nightlab.contracts import Values, World
from nightlab.errors import StationError
from robots.driver import Primitive, unsupported

HOME_XY_px: Final = (256.0, 400.0)
STRIDE_px: Final = 20.0
"""Lead of the target over the last one, per control period."""
REACHED_px: Final = 2.0
NEAR_px: Final = 10.0
"""Good enough at the end of the patience, for a pusher that jitters."""
PATIENCE_STEPS: Final = 40
"""Control periods after the target has arrived."""
KNOWN: Final = ("move_to_pose", "home")


def push_t_primitive(world: World, request: Primitive) -> Iterator[Values]:
    """The actions that carry out a primitive.

    Raises:
        StationError: grasp, release, apply_force; a pose that is not (x, y) on the table; the pusher did not get there.
    """
    if request.name not in KNOWN:
        raise unsupported("push_t", request.name, KNOWN)
    goal = HOME_XY_px if request.name == "home" else request.pose
    if len(goal) != 2 or not all(math.isfinite(v) and 0 <= v <= 512 for v in goal):
        raise StationError(f"move_to_pose {goal}: a push_t station takes (x, y) in px, each 0 to 512")
    if request.arm:
        raise StationError(f"no arm {request.arm!r} at a push_t station; leave it empty")
    return _drive(world, np.array(goal, dtype=np.float64))


def _drive(world: World, goal_px: NDArray[np.float64]) -> Iterator[Values]:
    patience = PATIENCE_STEPS
    while True:
        target = np.asarray(world.hold_action()["target_xy"], dtype=np.float64)
        here = world.observe()["agent_xy"]
        off_px = float(np.hypot(*(here - goal_px)))
        to_go = goal_px - target
        left_px = float(np.hypot(*to_go))
        if left_px < 1e-9:
            if off_px <= REACHED_px or (patience <= 0 and off_px <= NEAR_px):
                return
            if patience <= 0:
                raise StationError(
                    f"the pusher stopped {off_px:.1f} px from ({goal_px[0]:.0f}, {goal_px[1]:.0f}) px, at "
                    f"({here[0]:.0f}, {here[1]:.0f}); {NEAR_px:g} px are allowed"
                )
            patience -= 1
        yield {"target_xy": goal_px.copy() if left_px <= STRIDE_px else target + to_go * (STRIDE_px / left_px)}
