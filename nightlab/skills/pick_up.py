"""Taking a pin that lies, or leans on something, by its head from above."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from nightlab.errors import SkillError
from nightlab.skills.motion import STIFF, Arm, Array, Hands, Skill, glide, grip, holds, move
from nightlab.skills.pin import ABOVE_m, OPEN_m, raised

MOST_TURN_rad = 2.0
"""Largest turn of the tool about the vertical for which a wrist takes a head that lies near the plate."""
LIFT_m = 0.08


def pick_up(hands: Hands, arm: Arm, head: Sequence[float] | Array, heading_rad: float, *, lowest_z_m: float) -> Skill:
    """Take a pin by its head at (3,) m, whose tip points along `heading_rad` on the table, and lift it.

    `lowest_z_m` is how low the TCP may go. Raises SkillError if the pin is not got.
    """
    hands.soften(arm, STIFF)
    goal = np.array([*head, 0.0, 0.0, jaws_across(heading_rad)], dtype=np.float64)
    goal[2] = max(goal[2], lowest_z_m)
    hands.jaws(arm, OPEN_m)
    here = hands.pose(arm)
    if here[2] < goal[2] + ABOVE_m:
        yield from glide(hands, arm, [*here[:2], goal[2] + ABOVE_m, *here[3:]])
    yield from move(hands, arm, raised(goal, ABOVE_m), within_m=0.002, must=False)
    yield from move(hands, arm, goal, speed_m_s=0.06, within_m=0.001, must=False, patience_s=1.0)
    yield from grip(hands, arm)
    yield from move(hands, arm, raised(goal, LIFT_m), within_m=0.01, must=False, patience_s=1.0)
    if not holds(hands.seen, arm):
        raise SkillError("the pin that lay was not lifted")


def jaws_across(heading_rad: float) -> float:
    """Turn of the tool about the vertical, rad, for which the jaws close across a pin that points along `heading_rad`.

    Of the two that do, the one after which the pin points towards the hand's back, which then leans forwards to set it
    upright; the other if the wrist does not turn that far.
    """
    turn = math.remainder(heading_rad + math.pi / 2, 2 * math.pi)
    return turn if abs(turn) <= MOST_TURN_rad else math.remainder(turn + math.pi, 2 * math.pi)
