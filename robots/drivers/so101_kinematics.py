"""Where the tip of an SO-101 is, and how its joints must stand for it to be there. Pure.

The chain is that of the arm's published model (so101_new_calib of TheRobotStudio/SO-ARM100, Apache-2.0), whose zero is
the middle of each joint's range as LeRobot's is. Seen from the side it is three links that pitch about parallel axes,
on an axis that pans. Frame: origin on the pan axis at the base's bottom, r forward, z up, m; pan positive to the right,
pitch positive downwards, rad.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

SHOULDER_m: Final = (0.0303992, 0.1166)
UPPER_m: Final = (0.028, 0.11257)
LOWER_m: Final = (0.1349, 0.0052)
HAND_m: Final = (0.1592274, -0.0079)
"""From the wrist to the tip of the fixed jaw, pointing forward."""
JOINTS: Final = ("shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll")


@dataclass(frozen=True, slots=True)
class Tip:
    """A place of the tip: distance from the pan axis, height, bearing, and how far the hand leans from the horizontal."""

    r_m: float
    z_m: float
    pan_rad: float
    lean_rad: float
    """pi/2: straight down."""


@dataclass(frozen=True, slots=True)
class Kinematics:
    """An arm with a tool in its jaws.

    Args:
        tool_m: (further out, further up) of the tool's tip from the jaw's tip while the hand points forward.
        offset_rad: what to add to each LeRobot joint angle to get the model's, for a calibration that is not centred.
    """

    tool_m: tuple[float, float] = (0.0, 0.0)
    offset_rad: tuple[float, ...] = (0.0,) * 5

    def tip(self, joints_rad: tuple[float, ...]) -> Tip:
        """Where the tip is, of the five joints."""
        pan, *pitches = (joint + offset for joint, offset in zip(joints_rad, self.offset_rad, strict=True))
        (r, z), lean = SHOULDER_m, 0.0
        for link, pitch in zip((UPPER_m, LOWER_m, self._hand()), pitches, strict=False):
            lean += pitch
            dr, dz = _leant(link, lean)
            r, z = r + dr, z + dz
        return Tip(r, z, pan, lean)

    def joints(self, tip: Tip, roll_rad: float = 0.0) -> tuple[float, ...] | None:
        """The five joints that put the tip there, elbow up; None: out of reach."""
        dr, dz = _leant(self._hand(), tip.lean_rad)
        r, z = tip.r_m - dr - SHOULDER_m[0], tip.z_m - dz - SHOULDER_m[1]
        upper, lower, far = math.hypot(*UPPER_m), math.hypot(*LOWER_m), math.hypot(r, z)
        if far < 1e-6 or not abs(upper - lower) < far < upper + lower:
            return None
        rise = math.atan2(z, r) + math.acos((upper**2 + far**2 - lower**2) / (2 * upper * far))
        fall = math.atan2(z - upper * math.sin(rise), r - upper * math.cos(rise))
        lift = math.atan2(UPPER_m[1], UPPER_m[0]) - rise
        elbow = math.atan2(LOWER_m[1], LOWER_m[0]) - fall - lift
        wanted = (tip.pan_rad, lift, elbow, tip.lean_rad - lift - elbow, roll_rad)
        return tuple(joint - offset for joint, offset in zip(wanted, self.offset_rad, strict=True))

    def _hand(self) -> tuple[float, float]:
        return HAND_m[0] + self.tool_m[0], HAND_m[1] + self.tool_m[1]


def _leant(link: tuple[float, float], lean_rad: float) -> tuple[float, float]:
    c, s = math.cos(lean_rad), math.sin(lean_rad)
    return c * link[0] + s * link[1], c * link[1] - s * link[0]
