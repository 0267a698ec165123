"""Getting the pin back into the right hand, wherever an episode or a broken-off reset has left it.

Grip forces say who holds it; where it is then says the station's estimate, else the cameras (see `.locate`). Every way
ends with the pin straight in the right hand, its tip above the plate, and the left arm parked; or raises SkillError.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from environments.pin_insertion import spec
from nightlab.contracts import Values
from nightlab.errors import SkillError
from nightlab.skills.handover import hand_over, take_back, withdraw
from nightlab.skills.motion import Arm, Hands, Skill, glide, holds
from nightlab.skills.pick_up import pick_up
from nightlab.skills.pin import OPEN_m, extract, grasp, head_of, home, look, pin_of, raised
from nightlab.skills.rotation import lean_rad

Array = NDArray[np.float64]

CLEAR_m = 0.035
"""How far above the plate a pulled-out tip is taken."""
ON_TABLE_m = 0.025
"""A head lower than this lies on the table beside the plate."""
FINGERS_m, LOWEST_m = 0.010, 0.0125
"""How high the TCP stays above plate and table: the fingers reach 8 mm below it, and the station ends at 12 mm."""
NEAR_m = 0.02
"""A pin whose head is nearer than this to a closed gripper's TCP is in it."""
LEFT_PARKED = (-0.22, 0.02, 0.22, 0.0, 0.0, 0.0)
RIGHT_PARKED = (0.22, 0.02, 0.22, 0.0, 0.0, 0.0)
"""Where the arms wait, clear of plate and cameras."""
LEFT_WIDTH_m = 0.03
HANDOVERS = 3
"""A pin that leaned much leans a little after the first, and now and then after the second."""
PARKED_m = 0.03
"""An arm nearer than this to its resting place is parked."""
MEETING_m = (0.02, 0.03, 0.168)
"""Where the tip is during a handover: where both arms reach far from their joints' stops."""


@dataclass(slots=True)
class Counts:
    """What a reset had to do."""

    extractions: int = 0
    regrasps: int = 0
    handovers: int = 0
    pickups: int = 0

    def as_dict(self) -> dict[str, int]:
        """For `ResetReport.counts`."""
        return asdict(self)


def pin_in_hand(hands: Hands, counts: Counts) -> Skill:
    """A pin that the right hand holds: pull it out of whatever it is in, and set it straight."""
    clear_z_m = clear_z(hands.seen)
    if pin_of(hands.seen)[2] < clear_z_m:
        counts.extractions += int(pin_of(hands.seen)[2] < hands.seen["hole_estimate"][2])
        yield from extract(hands, "right", clear_z_m)
    yield from straighten(hands, counts)


def pin_in_left(hands: Hands, counts: Counts) -> Skill:
    """A pin that the left hand holds since a handover was broken off: take it back."""
    counts.regrasps += 1
    yield from take_back(hands)
    yield from look(hands)
    yield from straighten(hands, counts)


def pin_standing(hands: Hands, pin: Array, counts: Counts) -> Skill:
    """A pin that stands in a hole at `pin` (6,): take it by its head, pull it out, set it straight."""
    counts.extractions += 1
    counts.regrasps += 1
    yield from grasp(hands, "right", pin)
    yield from extract(hands, "right", clear_z(hands.seen))
    yield from straighten(hands, counts)


def pin_lying(hands: Hands, head: Array, heading_rad: float, counts: Counts) -> Skill:
    """A pin that lies on the plate or on the table, or leans, its head at (3,) m: pick it up and set it straight."""
    counts.pickups += 1
    floor_z_m = float(hands.seen["hole_estimate"][2]) if head[2] > ON_TABLE_m else 0.0
    yield from pick_up(hands, "right", head, heading_rad, lowest_z_m=max(LOWEST_m, floor_z_m + FINGERS_m))
    yield from look(hands)
    if not has_pin(hands, "right", pin_of(hands.seen)):
        raise SkillError("the gripper closed on something beside the pin's head")
    yield from straighten(hands, counts)


def straighten(hands: Hands, counts: Counts) -> Skill:
    """Hand the pin over to the left hand and back, if it does not sit straight in the right one; park the left arm."""
    yield from park_left(hands)  # a handover that failed may have left it where the pin shall go
    if sits_well(hands):
        return
    for _ in range(HANDOVERS):
        counts.handovers += 1
        yield from hand_over(hands, MEETING_m)
        yield from look(hands)
        if sits_well(hands, slack=2.0):
            yield from park_left(hands)
            return
    raise SkillError("the pin sits badly in the gripper after a handover")


def park_left(hands: Hands) -> Skill:
    """Left arm, empty: back from where the hands meet, and to its resting place; at once if it is there."""
    off = hands.seen["left_tcp"][:3] - np.array(LEFT_PARKED[:3])
    if float(np.sqrt(off @ off)) > PARKED_m:
        yield from withdraw(hands)
        yield from home(hands, "left", LEFT_PARKED, width_m=LEFT_WIDTH_m)


def out_of_sight(hands: Hands) -> Skill:
    """Right arm, empty: up and to where it hides nothing from the cameras."""
    here = np.array(hands.seen["right_tcp"], dtype=np.float64)
    hands.jaws("right", OPEN_m)
    if here[2] < RIGHT_PARKED[2]:
        yield from glide(hands, "right", raised(here, RIGHT_PARKED[2] - float(here[2])))
    yield from home(hands, "right", RIGHT_PARKED)


def clear_z(values: Values) -> float:
    """Height that a pulled-out tip is taken to, m."""
    return float(values["hole_estimate"][2]) + CLEAR_m


def has_pin(hands: Hands, arm: Arm, pin: Array) -> bool:
    """Whether an arm's gripper holds the pin by its head."""
    off = head_of(pin) - hands.seen[f"{arm}_tcp"][:3]
    return holds(hands.seen, arm) and float(np.sqrt(off @ off)) < NEAR_m


def sits_well(hands: Hands, *, slack: float = 1.0) -> bool:
    """Whether the pin hangs straight from the right hand, its head in the middle of the jaws, by the sensors."""
    pin, tcp = pin_of(hands.seen), hands.seen["right_tcp"]
    off = head_of(pin) - tcp[:3]
    tilted_rad = lean_rad(np.asarray(tcp[3:]), pin[3:])
    return tilted_rad <= slack * spec.MAX_GRASP_TILT_rad and float(np.sqrt(off @ off)) <= slack * spec.MAX_GRASP_SLIP_m
