"""Skills with two hands and a pin: the right one holds it upright, the left one takes it, the right one takes it again.

Flat jaws let a pin turn about one axis only, their own. So whatever way it hangs from them, the tool that turns about its
jaws' axis sets it upright: forwards and backwards a wrist can do that far enough for a pin that was level.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from nightlab.errors import SkillError
from nightlab.pin_box import GRASP_TO_TIP_m, HEAD_m
from nightlab.skills.motion import Array, Hands, Skill, Values, glide, grip, holds, let_go, move
from nightlab.skills.pin import ABOVE_m, OPEN_m, carry, look, pin_of, raised, yaw_of
from nightlab.skills.rotation import between, compose, rotate, to_matrix

HEADING_rad, DOWN_rad = 0.2, 0.35
"""The left hand takes a shaft pointing from +x towards +y by the one and down by the other: level and straight from the
side its wrist would be singular and its elbow at the stop."""
TOWARDS: Array = np.array(
    [
        math.cos(DOWN_rad) * math.cos(HEADING_rad),
        math.cos(DOWN_rad) * math.sin(HEADING_rad),
        -math.sin(DOWN_rad),
    ]
)
SIDEWAYS: Array = compose(
    compose(np.array([0.0, 0.0, -math.pi / 2]), np.array([0.0, DOWN_rad - math.pi / 2, 0.0])),
    np.array([0.0, 0.0, HEADING_rad]),
)
"""Rotation vector of a tool that points along TOWARDS with its jaws level: how the left hand takes a shaft."""
UP: Array = np.array([0.0, 0.0, 1.0])
LEAN_rad, MOST_ROLL_rad = 0.25, 1.0
"""From the first on a pin leans so much in the right jaws that closing left jaws would not set it upright: the right tool
leans to make up for it, and if something is left, the left tool leans with it, by the second at most."""
FORWARDS_rad, BACKWARDS_rad = 1.4, 1.35
"""How far the right tool leans about its jaws' axis."""
FORWARDS_YAW_rad, BACKWARDS_YAW_rad = 0.9, -0.6
"""Its turn about the vertical then: the hand stands to the right of the pin, out of the left one's way."""
SHAFT_m = 0.012
"""Where on the shaft the left hand takes it, above the tip: so low that its palm keeps clear of the right fingers."""
NARROW_m = HEAD_m + 0.008
"""Jaws around a head while the other hand is near."""
BACK_m = 0.07
"""How far the left hand comes from, and goes to."""


def hand_over(hands: Hands, tip: Sequence[float], yaw_rad: float = 0.0) -> Skill:
    """Give the pin from the right hand to the left one, which comes from the side, and take it again from above.

    The right hand's jaws set the pin upright about y, the left hand's about x: afterwards it hangs straight and its head
    sits in the middle of the right jaws. `tip` is where the tip is meanwhile. Raises SkillError if it is lost.
    """
    hands.soften("right")
    hands.soften("left")
    leans = abs(_lean(hands.seen)) > LEAN_rad
    yield from present(hands, tip) if leans else carry(hands, "right", tip, yaw_rad)
    pin = pin_of(hands.seen)
    shaft = pin[:3] + rotate(pin[3:], SHAFT_m * UP)
    roll_rad = _roll(pin)
    tool = compose(SIDEWAYS, roll_rad * TOWARDS)
    at = np.array([*shaft, *tool])
    away = at.copy()
    away[:3] -= BACK_m * TOWARDS
    hands.jaws("left", OPEN_m)
    yield from move(hands, "left", away, within_m=0.004, within_rad=0.05)
    yield from move(hands, "left", at, speed_m_s=0.06, within_m=0.0015, within_rad=0.03)
    yield from grip(hands, "left")
    hangs = np.array([0.0, pin[4], 0.0])  # the left jaws set it upright about x; its lean about y stays
    if leans or roll_rad:
        hangs = compose(pin[3:], between(tool, SIDEWAYS))
        yaw_rad = math.remainder(yaw_of(hangs), math.pi / 2)
        yield from let_go(hands, "right", OPEN_m)
        yield from back_off(hands, yaw_rad)
        yield from move(hands, "left", [*at[:3], *SIDEWAYS], within_m=0.004, within_rad=0.03)
    yield from take_back(hands, yaw_rad, hangs)


def present(hands: Hands, tip: Sequence[float], *, tries: int = 3) -> Skill:
    """Bring the tip of the pin in the right hand to a place (3,) m, the pin as upright as the hand can turn it."""
    yield from look(hands)
    for number in range(tries):
        turn = min(FORWARDS_rad, max(-BACKWARDS_rad, -_lean(hands.seen)))
        yaw = FORWARDS_YAW_rad if turn > 0 else BACKWARDS_YAW_rad
        tool = compose(np.array([turn, 0.0, 0.0]), np.array([0.0, 0.0, yaw]))
        tcp, pin = np.array(hands.seen["right_tcp"], dtype=np.float64), pin_of(hands.seen)
        arrow = rotate(between(tcp[3:], tool), pin[:3] - tcp[:3])
        goal = np.array([*(np.asarray(tip, dtype=np.float64) - arrow), *tool])
        yield from move(hands, "right", goal, within_m=0.002, within_rad=0.03, must=number == 0)
        yield from look(hands)
        off = pin_of(hands.seen)[:3] - np.asarray(tip, dtype=np.float64)
        if float(np.sqrt(off @ off)) < 0.003:
            return


def back_off(hands: Hands, yaw_rad: float) -> Skill:
    """Right hand: back along its own fingers, then up, and upright again."""
    here = np.array(hands.seen["right_tcp"], dtype=np.float64)
    here[:3] += ABOVE_m * rotate(here[3:], UP)
    yield from move(hands, "right", here, within_m=0.01, must=False, patience_s=0.5)
    yield from glide(hands, "right", [*raised(here, ABOVE_m)[:3], 0.0, 0.0, yaw_rad])


def _lean(values: Values) -> float:
    """How far the pin is turned in the right jaws, about their axis, rad: from where it points, whichever faces they hold."""
    tool = to_matrix(np.array(values["right_tcp"][3:], dtype=np.float64))
    _, y, z = tool.T @ rotate(pin_of(values)[3:], UP)
    return math.atan2(-float(y), float(z))


def _roll(pin: Array) -> float:
    """How far the left tool is turned about TOWARDS so that its jaws close across the shaft of a pin (6,), rad.

    0 for one that leans so little that closing jaws set it upright.
    """
    up, axis = (v - (v @ TOWARDS) * TOWARDS for v in (UP, rotate(pin[3:], UP)))
    roll_rad = math.atan2(float(TOWARDS @ np.cross(up, axis)), float(up @ axis))
    return 0.0 if abs(roll_rad) < LEAN_rad else max(-MOST_ROLL_rad, min(MOST_ROLL_rad, roll_rad))


def take_back(hands: Hands, yaw_rad: float = 0.0, hangs: Array | None = None) -> Skill:
    """Take the pin, whose shaft the left hand holds sideways, by its head with the right hand; the left hand lets go.

    Where the head is follows from the left hand and from how the pin hangs in it (a rotation vector, upright if it is not
    said), so this also mends a handover that was broken off. Raises SkillError if the pin is lost.
    """
    left = np.array(hands.seen["left_tcp"], dtype=np.float64)
    up = rotate(np.zeros(3) if hangs is None else hangs, (GRASP_TO_TIP_m - SHAFT_m) * UP)
    goal = np.array([*(left[:3] + up), 0.0, 0.0, yaw_rad])
    yield from let_go(hands, "right", NARROW_m)
    here = np.array(hands.seen["right_tcp"], dtype=np.float64)
    up_m = max(0.0, float(goal[2] + ABOVE_m / 2 - here[2]))
    yield from move(hands, "right", raised(here, up_m), within_m=0.004, must=False, patience_s=0.5)
    yield from move(hands, "right", raised(goal, ABOVE_m / 2), within_m=0.001)
    yield from move(hands, "right", goal, speed_m_s=0.05, within_m=0.0008)
    yield from grip(hands, "right")
    yield from withdraw(hands)
    if not holds(hands.seen, "right"):
        raise SkillError("the pin was lost in the handover")


def withdraw(hands: Hands) -> Skill:
    """Left hand: let go of a shaft, and back, out of the right one's way."""
    yield from let_go(hands, "left", OPEN_m)
    away = np.array(hands.seen["left_tcp"], dtype=np.float64)
    away[:3] -= BACK_m * TOWARDS
    yield from move(hands, "left", away, within_m=0.01, must=False, patience_s=0.5)
