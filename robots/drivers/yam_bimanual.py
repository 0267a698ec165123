"""Primitives of a bimanual bench, on the skills that policies and resets use too.

Arms are `left` and `right`. A pose is x, y, z (m) and a rotation vector (rad) in the frame `table`, zero = gripper
pointing straight down, jaws along x. A wrench is in the table's axes, N and Nm, what the gripper does to the world.
`home` first lifts, then brings both arms aside; the jaws stay as they are.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Final, Literal

import numpy as np

from nightlab.contracts import Values, World
from nightlab.errors import SkillError, StationError
from nightlab.skills import motion
from nightlab.skills.motion import Hands, Skill
from robots.driver import Primitive, unsupported
from robots.worlds.yam_bench_spec import HOME_POSE, POSE_HIGH, POSE_LOW, STIFFNESS, JAWS_N_per_m, OPEN_m

KNOWN: Final = ("move_to_pose", "home", "grasp", "release", "apply_force")
LIFT_m: Final = 0.22
"""Height of the TCPs at which `home` travels."""
ARM: Final[dict[str, Literal["left", "right"]]] = {"left": "left", "right": "right"}


def yam_primitive(world: World, request: Primitive) -> Iterator[Values]:
    """The actions that carry out a primitive.

    Raises:
        StationError: no such primitive or arm, numbers that are not finite or out of reach, or it did not succeed.
    """
    if request.name not in KNOWN:
        raise unsupported("yam_bimanual", request.name, KNOWN)
    return _drive(world, _skill(world, request))


def _drive(world: World, skill: Skill) -> Iterator[Values]:
    try:
        action = next(skill)
        while True:
            yield action
            action = skill.send(world.observe())
    except StopIteration:
        return


def _skill(world: World, request: Primitive) -> Skill:
    hands = Hands.of(world.observe(), world.hold_action())
    if request.name == "home":
        return motion.together(_home(hands, "left"), _home(hands, "right"))
    arm = ARM.get(request.arm)
    if arm is None:
        raise StationError(f"{request.name}: no arm {request.arm!r} at a yam_bimanual station; there are: left, right")
    match request.name:
        case "move_to_pose":
            return motion.move(hands, arm, _pose(request.pose))
        case "grasp":
            return _grasp(hands, arm, request.width_m, request.force_N)
        case "release":
            return motion.let_go(hands, arm, OPEN_m)
        case _:
            return _push(hands, arm, request.wrench, request.duration_s)


def _pose(pose: tuple[float, ...]) -> list[float]:
    inside = len(pose) == 6 and all(
        math.isfinite(v) and low <= v <= high for v, low, high in zip(pose, POSE_LOW, POSE_HIGH, strict=True)
    )
    if not inside:
        raise StationError(
            f"move_to_pose {pose}: a yam_bimanual station takes x, y, z in m and a rotation vector in rad, "
            f"from {POSE_LOW} to {POSE_HIGH}"
        )
    return list(pose)


def _home(hands: Hands, arm: Literal["left", "right"]) -> Skill:
    goal = np.array(HOME_POSE[arm])
    hands.soften(arm, STIFFNESS)
    up = hands.pose(arm).copy()
    up[2] = max(up[2], LIFT_m)
    yield from motion.glide(hands, arm, up)
    yield from motion.glide(hands, arm, [*goal[:2], up[2], *goal[3:]])
    yield from motion.move(hands, arm, goal, within_m=0.003, within_rad=0.03)


def _grasp(hands: Hands, arm: Literal["left", "right"], width_m: float, force_N: float) -> Skill:
    """Close to `width_m`, or until `force_N` is felt."""
    if not (0 <= width_m <= OPEN_m and force_N > 0):
        raise StationError(
            f"grasp: width_m {width_m:g} must be 0 to {OPEN_m:g} and force_N {force_N:g} above 0 (the gripper caps it)"
        )
    yield from motion.let_go(hands, arm, max(0.0, width_m - force_N / JAWS_N_per_m), duration_s=0.8)
    grip_N = float(hands.seen[f"{arm}_gripper"][1])
    if grip_N < min(force_N, motion.HOLDS_N):
        raise SkillError(
            f"the {arm} gripper closed on nothing: {grip_N:.1f} N at an opening of "
            f"{1000 * float(hands.seen[f'{arm}_gripper'][0]):.1f} mm, asked were {force_N:g} N"
        )


def _push(hands: Hands, arm: Literal["left", "right"], wrench: tuple[float, ...], duration_s: float) -> Skill:
    """Press with a wrench by moving the spring's target off the TCP; then relax."""
    if len(wrench) != 6 or not all(math.isfinite(v) for v in wrench) or not 0 < duration_s <= 60:
        raise StationError(
            f"apply_force {wrench} for {duration_s:g} s: needs 6 finite numbers, N and Nm, and 0 to 60 s"
        )
    hands.soften(arm, STIFFNESS)
    spring = np.array([STIFFNESS[0]] * 3 + [STIFFNESS[1]] * 3)
    here = np.array(hands.seen[f"{arm}_tcp"])
    low, high = np.array(POSE_LOW), np.array(POSE_HIGH)
    yield from motion.glide(hands, arm, np.clip(here + np.array(wrench) / spring, low, high))
    yield from motion.pause(hands, duration_s)
    yield from motion.glide(hands, arm, np.clip(hands.seen[f"{arm}_tcp"], low, high))
