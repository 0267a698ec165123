"""The pin box of pin insertion in pure numbers: pin, holes, plate, bench, cameras. No physics, no heavy import.

Frame `table`: origin at the centre of the table top, x from the left arm to the right arm, y away from the arms' bases
towards the box, z up; metres, rad. A TCP pose is x, y, z and a rotation vector in table axes relative to "gripper
pointing straight down, jaws along x".
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

PIN_DIAMETER_m: Final = 0.0038
SHAFT_LENGTH_m: Final = 0.040
"""From the tip to the underside of the head."""
HEAD_m: Final = 0.012
"""Edge of the cube that the gripper holds."""
GRASP_TO_TIP_m: Final = SHAFT_LENGTH_m + HEAD_m / 2
"""From the centre of the head, where the TCP is in a nominal grasp, down to the tip."""
HOLE_DIAMETER_m: Final = 0.0042
HOLE_DEPTH_m: Final = 0.025
HOLE_PITCH_m: Final = 0.040
PLATE_EDGE_m: Final = 0.100
PLATE_TOP_m: Final = 0.040
"""Height of the holes' mouths over the table."""
PLATE_XY_m: Final = (0.0, 0.05)
"""Where the plate's centre should be; a station's own lies beside it by what its profile says."""
HOLES: Final = ((-0.5, -0.5), (0.5, -0.5), (-0.5, 0.5), (0.5, 0.5))
"""Hole 0…3 in pitches from the plate's centre, along the plate's own x and y."""
RACK_XY_m: Final = (0.12, 0.05)
"""Centre of the rack beside the plate, in which pins 1…3 stand when there are more than one."""
RACK_PITCH_m: Final = 0.040

IMAGE_PX: Final = (640, 480)
"""Width and height of every camera."""
CAMERAS: Final = {
    # position in the table frame, the point looked at, vertical field of view
    "top": ((0.0, 0.05, 0.85), (0.0, 0.05, 0.04), 19.6),
    "side": ((0.0, 0.55, 0.22), (0.0, 0.05, 0.065), 22.0),
}
"""Camera → position m, target m, vertical field of view in degrees, as drawn; a station's own are jittered."""


def hole_mouths(
    plate_x_m: float = 0.0, plate_y_m: float = 0.0, plate_yaw_rad: float = 0.0
) -> list[tuple[float, float, float]]:
    """Centres of the four mouths in the table frame, m, for a plate that lies off PLATE_XY_m by so much."""
    c, s = math.cos(plate_yaw_rad), math.sin(plate_yaw_rad)
    x, y = PLATE_XY_m[0] + plate_x_m, PLATE_XY_m[1] + plate_y_m
    return [(x + HOLE_PITCH_m * (c * u - s * v), y + HOLE_PITCH_m * (s * u + c * v), PLATE_TOP_m) for u, v in HOLES]


def focal_px(camera: str) -> float:
    """Focal length of a camera in pixels (square pixels, principal point in the middle of the picture)."""
    return IMAGE_PX[1] / 2 / math.tan(math.radians(CAMERAS[camera][2]) / 2)


def look_at(position: Sequence[float], target: Sequence[float]) -> tuple[tuple[float, float, float], ...]:
    """Rows right, up, backward of a camera (OpenGL convention: it looks along -backward), in table axes.

    Looking straight down, up is +y of the table.
    """
    back = _unit([p - t for p, t in zip(position, target, strict=True)])
    rough = (0.0, 0.0, 1.0) if abs(back[2]) < 0.999 else (0.0, 1.0, 0.0)
    right = _unit(_cross(rough, back))
    return right, _cross(back, right), back


def _cross(a: Sequence[float], b: Sequence[float]) -> tuple[float, float, float]:
    return a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]


def _unit(a: Sequence[float]) -> tuple[float, float, float]:
    length = math.sqrt(sum(v * v for v in a))
    return a[0] / length, a[1] / length, a[2] / length
