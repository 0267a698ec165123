"""Skills with a pin that has a square head: grasp, extract, carry, place, let go.

A pin's pose is the place of its tip (m) and the rotation vector of its frame, z from the tip to the head: zero stands
upright with the head's faces along x and y. It is what the station's `pin_estimate` gives.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from nightlab.errors import SkillError
from nightlab.pin_box import GRASP_TO_TIP_m, HEAD_m
from nightlab.skills.motion import (
    RATE_HZ,
    STIFF,
    Arm,
    Array,
    Hands,
    Skill,
    Values,
    glide,
    grip,
    holds,
    let_go,
    move,
    pause,
    tick,
)
from nightlab.skills.rotation import between, compose, rotate, tilt_rad, to_matrix

OPEN_m = HEAD_m + 0.014
"""Jaws around a head, with 7 mm to spare on each side."""
ABOVE_m = 0.05
"""From how far above a gripper comes down on a head."""
SOFT = (250.0, 8.0)
"""N/m and Nm/rad sideways for pulling a pin out: it finds its own way along the hole."""
JAM_N, JAM_TICKS = 12.0, 60
"""A pull that meets this force waits; it is given up after so many control periods of waiting."""
ROCK_rad = 0.03
LOOK_TICKS = 6
UPRIGHT_rad = 0.35
"""A pin that leans less than this stands; one that leans more lies."""


def look(hands: Hands, ticks: int = LOOK_TICKS) -> Skill:
    """Rest, and average what is seen of pin and hole: afterwards `pin_of(hands.seen)` is the mean."""
    seen: list[Values] = []
    for _ in range(ticks):
        yield from tick(hands)
        seen.append(hands.seen)
    mean = dict(hands.seen)
    for key in ("pin_estimate", "hole_estimate"):
        if key in mean:
            mean[key] = np.mean([values[key] for values in seen], axis=0)
    hands.seen = mean


def pin_of(values: Values) -> Array:
    """The pin's pose (6,) by the station's estimate."""
    return np.array(values["pin_estimate"], dtype=np.float64)


def head_of(pin: Array) -> Array:
    """Centre of the pin's head (3,) m."""
    return np.asarray(pin[:3] + rotate(pin[3:], np.array([0.0, 0.0, GRASP_TO_TIP_m])))


def grasp_pose(pin: Array) -> Array:
    """TCP pose (6,) that holds a pin by two faces of its head, of the four the one that turns the tool least."""
    turns = (compose(np.array([0.0, 0.0, quarter * math.pi / 2]), pin[3:]) for quarter in range(-2, 2))
    return np.concatenate([head_of(pin), min(turns, key=lambda turn: float(turn @ turn))])


def yaw_of(rotvec: Array) -> float:
    """Turn about the vertical of a tool or a pin that is nearly upright, rad."""
    matrix = to_matrix(rotvec)
    return math.atan2(float(matrix[1, 0] - matrix[0, 1]), float(matrix[0, 0] + matrix[1, 1]))


def raised(pose: Sequence[float] | Array, up_m: float) -> Array:
    """A pose (6,) moved up."""
    out = np.array(pose, dtype=np.float64)
    out[2] += up_m
    return out


def open_and_retreat(hands: Hands, arm: Arm, up_m: float, aside: Sequence[float] = (0.0, 0.0)) -> Skill:
    """Open the jaws, go straight up, then aside (x, y) m."""
    yield from let_go(hands, arm, OPEN_m)
    here = np.array(hands.seen[f"{arm}_tcp"], dtype=np.float64)
    yield from move(hands, arm, raised(here, up_m), within_m=0.01, must=False, patience_s=0.5)
    if any(aside):
        there = raised(here, up_m)
        there[:2] += aside
        yield from move(hands, arm, there, within_m=0.01, must=False, patience_s=0.5)


def grasp(hands: Hands, arm: Arm, pin: Array) -> Skill:
    """Take a pin, which stands upright at `pin` (6,), by its head from above. Raises SkillError if it is not got."""
    hands.soften(arm)
    if tilt_rad(pin[3:]) > UPRIGHT_rad:
        raise SkillError(f"the pin leans {tilt_rad(pin[3:]):.2f} rad and cannot be grasped from above")
    goal = grasp_pose(pin)
    goal[3:] = (0.0, 0.0, yaw_of(goal[3:]))  # a pin in a hole leans less than cameras can tell
    hands.jaws(arm, OPEN_m)
    here = hands.pose(arm)
    if here[2] < goal[2] + ABOVE_m:  # never sideways through the pin
        yield from glide(hands, arm, [*here[:2], goal[2] + ABOVE_m, *here[3:]])
    yield from move(hands, arm, raised(goal, ABOVE_m), within_m=0.002, must=False)
    yield from move(hands, arm, goal, speed_m_s=0.06, within_m=0.001, must=False, patience_s=1.0)
    yield from grip(hands, arm)


def extract(hands: Hands, arm: Arm, clear_z_m: float, *, speed_m_s: float = 0.04) -> Skill:
    """Pull the pin, which the arm holds, straight up until its tip is above `clear_z_m`.

    Soft sideways, so that the pin finds its own way along the hole. Where it jams the hand waits and rocks a little.
    Raises SkillError if the pin stays behind.
    """
    hands.soften(arm, SOFT)
    yield from look(hands)
    before = pin_of(hands.seen)
    up_m = max(0.0, clear_z_m - float(before[2]))
    begin = np.array(hands.seen[f"{arm}_tcp"], dtype=np.float64)
    goal, done_m, jammed = raised(begin, up_m), 0.0, 0
    while done_m < up_m and jammed < JAM_TICKS:
        pull_N = abs(float(hands.seen[f"{arm}_wrench"][2]))
        if pull_N < JAM_N:
            done_m = min(up_m, done_m + speed_m_s / RATE_HZ)
        else:
            jammed += 1
        rock = ROCK_rad * math.sin(0.8 * jammed)
        turned = compose(begin[3:], np.array([rock, ROCK_rad * math.cos(0.8 * jammed) if jammed else 0.0, 0.0]))
        hands.point(arm, [*raised(begin, done_m)[:3], *turned])
        yield from tick(hands)
    hands.soften(arm)
    if done_m < up_m:
        raise SkillError(f"the pin is jammed: {pull_N:.0f} N after {1000 * done_m:.0f} of {1000 * up_m:.0f} mm")
    yield from move(hands, arm, goal, within_m=0.003, must=False, patience_s=1.0)
    yield from look(hands)
    came_m = float(pin_of(hands.seen)[2] - before[2])
    if not holds(hands.seen, arm) or came_m < up_m - 0.010:
        raise SkillError(f"the pin stayed behind: it came up {1000 * came_m:.0f} of {1000 * up_m:.0f} mm")


def carry(hands: Hands, arm: Arm, tip: Sequence[float] | Array, yaw_rad: float, *, tries: int = 3) -> Skill:
    """Bring the tip of the held pin to a place (3,) m with the tool upright and turned by `yaw_rad`."""
    upright = np.array([0.0, 0.0, yaw_rad])
    yield from look(hands)
    for number in range(tries):
        tcp, pin = np.array(hands.seen[f"{arm}_tcp"], dtype=np.float64), pin_of(hands.seen)
        arrow = rotate(between(tcp[3:], upright), pin[:3] - tcp[:3])  # TCP to tip, once the tool is upright
        goal = np.array([*(np.asarray(tip, dtype=np.float64) - arrow), *upright])
        yield from move(hands, arm, goal, within_m=0.0007, within_rad=0.01, must=number == 0)
        yield from look(hands)
        off = pin_of(hands.seen)[:3] - np.asarray(tip, dtype=np.float64)
        if float(np.sqrt(off @ off)) < 0.0015:
            return


def home(hands: Hands, arm: Arm, pose: Sequence[float], *, width_m: float | None = None) -> Skill:
    """Take an arm to its resting pose, at once straight there; a width opens or closes its jaws on the way."""
    if width_m is not None:
        hands.jaws(arm, width_m)
    hands.soften(arm, STIFF)
    yield from move(hands, arm, pose, within_m=0.01, within_rad=0.1, must=False, patience_s=1.0)


def pick_and_place(
    hands: Hands, arm: Arm, pin: Array, tip: Sequence[float], *, yaw_rad: float = 0.0, clear_z_m: float
) -> Skill:
    """Take a standing pin, lift its tip above `clear_z_m`, set it down with its tip at `tip`, and let go."""
    yield from grasp(hands, arm, pin)
    yield from extract(hands, arm, clear_z_m)
    yield from carry(hands, arm, [tip[0], tip[1], clear_z_m], yaw_rad)
    yield from carry(hands, arm, tip, yaw_rad)
    yield from open_and_retreat(hands, arm, ABOVE_m)
    yield from pause(hands, 2 / RATE_HZ)
