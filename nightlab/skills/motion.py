"""Moving two arms by Cartesian targets: the ground of every skill.

A *skill* is a generator: it yields one action per control period and is sent the observation that came of it. It ends
when it is done, and raises SkillError when it cannot do what it is for. `Hands` holds the targets of both arms; skills
change it and yield `hands.action()`, so that the arm which is not spoken of keeps its target, and its grip.

Station kind `yam_bimanual`: poses are x, y, z (m) and a rotation vector (rad) in the frame `table`, zero = tool down,
jaws along x.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from nightlab.errors import SkillError
from nightlab.skills.rotation import between, compose

Array = NDArray[np.float64]
Values = Mapping[str, Array]
Action = dict[str, Array]
Arm = Literal["left", "right"]
Skill = Generator[Action, Values, None]

RATE_HZ = 20.0
"""Control rate of the station; speeds are turned into steps by it."""
SPEED_m_s, TURN_rad_s = 0.12, 1.2
"""Of a free motion: below the station's largest step per period."""
STIFF = (2000.0, 60.0)
"""N/m and Nm/rad for carrying."""
CLOSED_m = 0.0
"""Width target that squeezes whatever is between the jaws; the gripper's own force cap sets the grip."""
HOLDS_N = 3.0
"""Grip force above which a gripper holds something."""
CORRECTION = 0.12
"""Share of the remaining error by which a target is moved each period: friction and compliance leave some."""
MOST_CORRECTION_m, MOST_CORRECTION_rad = 0.02, 0.15


@dataclass(slots=True)
class Hands:
    """The targets of both arms, as they were last commanded."""

    targets: Action
    seen: Values
    """The latest observation."""

    @classmethod
    def of(cls, values: Values, executed: Values | None = None) -> Hands:
        """From the action that ran last, or, where that is not known, from what the sensors say.

        A gripper that presses on something gets a closed target, or reading its width would let go.
        """
        targets: Action = {}
        for arm in ("left", "right"):
            width_m, grip_N = (float(v) for v in values[f"{arm}_gripper"])
            targets[f"{arm}_pose"] = np.array(values[f"{arm}_tcp"], dtype=np.float64)
            targets[f"{arm}_width"] = np.array([CLOSED_m if grip_N > HOLDS_N else max(0.0, width_m)])
            targets[f"{arm}_stiffness"] = np.array(STIFF)
        targets |= {key: np.array(value, dtype=np.float64) for key, value in (executed or {}).items()}
        return cls(targets, values)

    def action(self) -> Action:
        """A copy of the targets, to be yielded."""
        return {key: value.copy() for key, value in self.targets.items()}

    def pose(self, arm: Arm) -> Array:
        """The pose target of an arm (6,)."""
        return self.targets[f"{arm}_pose"]

    def point(self, arm: Arm, pose: Sequence[float] | Array) -> None:
        """Set the pose target of an arm."""
        self.targets[f"{arm}_pose"] = np.array(pose, dtype=np.float64)

    def jaws(self, arm: Arm, width_m: float) -> None:
        """Set the width target of an arm's jaws."""
        self.targets[f"{arm}_width"] = np.array([width_m])

    def soften(self, arm: Arm, stiffness: Sequence[float] = STIFF) -> None:
        """Set an arm's stiffness, N/m and Nm/rad."""
        self.targets[f"{arm}_stiffness"] = np.array(stiffness, dtype=np.float64)


def holds(values: Values, arm: Arm) -> bool:
    """Whether an arm's gripper presses on something."""
    return float(values[f"{arm}_gripper"][1]) >= HOLDS_N


def error(pose: Array, goal: Array) -> tuple[Array, Array]:
    """What is missing from `pose` to `goal`: (3,) m, and a rotation vector (3,) rad about the table's axes."""
    return goal[:3] - pose[:3], between(pose[3:], goal[3:])


def tick(hands: Hands) -> Skill:
    """One control period with the present targets; what is seen then stands in `hands.seen`."""
    hands.seen = yield hands.action()


def pause(hands: Hands, duration_s: float) -> Skill:
    """Keep all targets."""
    for _ in range(max(1, round(duration_s * RATE_HZ))):
        yield from tick(hands)


def glide(
    hands: Hands,
    arm: Arm,
    goal: Sequence[float] | Array,
    *,
    speed_m_s: float = SPEED_m_s,
    turn_rad_s: float = TURN_rad_s,
) -> Skill:
    """Take an arm's target to `goal` in a straight line; the arm follows. Does not wait for it."""
    wanted = np.array(goal, dtype=np.float64)
    while True:
        here = hands.pose(arm)
        shift, turn = error(here, wanted)
        most = max(
            float(np.sqrt(shift @ shift)) * RATE_HZ / speed_m_s, float(np.sqrt(turn @ turn)) * RATE_HZ / turn_rad_s
        )
        if most <= 1.0:
            hands.point(arm, wanted)
            yield from tick(hands)
            return
        hands.point(arm, [*(here[:3] + shift / most), *compose(here[3:], turn / most)])
        yield from tick(hands)


def move(
    hands: Hands,
    arm: Arm,
    goal: Sequence[float] | Array,
    *,
    speed_m_s: float = SPEED_m_s,
    turn_rad_s: float = TURN_rad_s,
    within_m: float = 0.001,
    within_rad: float = 0.02,
    patience_s: float = 2.0,
    must: bool = True,
) -> Skill:
    """Glide to `goal`, then move the target on until the TCP itself is there by the encoders.

    Raises:
        SkillError: with `must`, the arm is still more than three times the tolerance off when the patience ends.
    """
    wanted = np.array(goal, dtype=np.float64)
    yield from glide(hands, arm, wanted, speed_m_s=speed_m_s, turn_rad_s=turn_rad_s)
    quiet = 0
    shift, turn = error(hands.pose(arm), wanted)
    for _ in range(max(1, round(patience_s * RATE_HZ))):
        yield from tick(hands)
        shift, turn = error(hands.seen[f"{arm}_tcp"], wanted)
        near = float(np.sqrt(shift @ shift)) <= within_m and float(np.sqrt(turn @ turn)) <= within_rad
        quiet = quiet + 1 if near else 0
        if quiet >= 2:
            return
        _lean(hands, arm, wanted, shift, turn)
    off_m, off_rad = float(np.sqrt(shift @ shift)), float(np.sqrt(turn @ turn))
    if must and (off_m > 3 * within_m or off_rad > 3 * within_rad):
        raise SkillError(
            f"the {arm} arm stopped {1000 * off_m:.1f} mm and {off_rad:.2f} rad from ({_text(wanted)}); "
            f"allowed are {3000 * within_m:.1f} mm and {3 * within_rad:.2f} rad"
        )


def _lean(hands: Hands, arm: Arm, wanted: Array, shift: Array, turn: Array) -> None:
    """Move the target past the goal by a share of what is missing, but never far from the goal."""
    here = hands.pose(arm)
    place = here[:3] + CORRECTION * shift
    place = wanted[:3] + np.clip(place - wanted[:3], -MOST_CORRECTION_m, MOST_CORRECTION_m)
    turned = compose(here[3:], CORRECTION * turn)
    past = between(wanted[3:], turned)
    size = float(np.sqrt(past @ past))
    if size > MOST_CORRECTION_rad:
        turned = compose(wanted[3:], past * (MOST_CORRECTION_rad / size))
    hands.point(arm, [*place, *turned])


def come_off(hands: Hands, arm: Arm, up_m: float) -> Skill:
    """Stop pressing: the target goes to where the hand is, and up from there."""
    goal = np.array(hands.seen[f"{arm}_tcp"], dtype=np.float64)
    goal[2] += up_m
    yield from glide(hands, arm, goal)


def touch(
    hands: Hands, arm: Arm, direction: Sequence[float], *, force_N: float, reach_m: float, speed_m_s: float = 0.03
) -> Skill:
    """Move an arm's target along `direction` (3,) until its wrist feels `force_N` against it, or for `reach_m`."""
    along = np.array(direction, dtype=np.float64)
    along = along / np.sqrt(along @ along)
    step_m = speed_m_s / RATE_HZ
    for _ in range(max(1, math.ceil(reach_m / step_m))):
        pose = hands.pose(arm).copy()
        pose[:3] += along * step_m
        hands.point(arm, pose)
        yield from tick(hands)
        if abs(float(hands.seen[f"{arm}_wrench"][:3] @ along)) >= force_N:
            return


def grip(hands: Hands, arm: Arm, *, duration_s: float = 0.6, must: bool = True) -> Skill:
    """Close an arm's jaws. Raises SkillError, with `must`, if nothing is between them in the end."""
    hands.jaws(arm, CLOSED_m)
    yield from pause(hands, duration_s)
    if must and not holds(hands.seen, arm):
        grip_N = float(hands.seen[f"{arm}_gripper"][1])
        raise SkillError(f"the {arm} gripper closed on nothing: {grip_N:.1f} N, {HOLDS_N:g} N are needed")


def let_go(hands: Hands, arm: Arm, width_m: float, *, duration_s: float = 0.5) -> Skill:
    """Open an arm's jaws to a width."""
    hands.jaws(arm, width_m)
    yield from pause(hands, duration_s)


def together(*skills: Skill) -> Skill:
    """Run skills at the same time, each on its own arm, over the same `Hands`; ends with the last."""
    waiting = list(skills)
    actions: list[Action] = []
    alive = []
    for skill in waiting:
        try:
            actions.append(next(skill))
            alive.append(skill)
        except StopIteration:
            continue
    while alive:
        values = yield actions[-1]  # the last one saw what the others had set
        actions, still = [], []
        for skill in alive:
            try:
                actions.append(skill.send(values))
                still.append(skill)
            except StopIteration:
                continue
        alive = still


def _text(pose: Array) -> str:
    return ", ".join(f"{value:.3f}" for value in pose)
