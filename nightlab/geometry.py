"""Push-T in numbers: the T, its goal, coverage, overlaps. Pure numpy and Python; world, verifier and policies share it.

Frame: the table, 512 × 512 px, x right, y down as in the camera image; 1 px of the world is 1 px of the camera.
A *pose* is (x_px, y_px, angle_rad): position of the T's body origin (middle of the bar's outer edge) and rotation of
its body frame, as `pymunk.Body.position` and `.angle` in gym-pusht, whose shapes these are (Apache-2.0, see
https://github.com/huggingface/gym-pusht).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Point = tuple[float, float]

TABLE_PX: Final = 512.0
"""Side of the square table."""
WALL_LOW_PX: Final = 7.0
WALL_HIGH_PX: Final = 504.0
"""Inner faces of the walls (segments at 5 and 506 with radius 2)."""
AGENT_RADIUS_PX: Final = 15.0
GOAL_POSE: Final = (256.0, 256.0, math.pi / 4)
T_SCALE_PX: Final = 30.0
BAR_LOCAL: Final = (-60.0, 60.0, 0.0, 30.0)
"""The bar in the body frame: x low, x high, y low, y high (px)."""
STEM_LOCAL: Final = (-15.0, 15.0, 30.0, 120.0)
"""The stem in the body frame."""
T_AREA_PX2: Final = 6300.0
T_COG_LOCAL: Final = (0.0, 45.0)
"""Centre of gravity in the body frame on the nominal station."""
T_MASS: Final = 1.0
T_INERTIA: Final = 3000.0
"""Moment about the centre of gravity as gym-pusht sets it (its stem uses the bar's moment)."""
T_OUTLINE_LOCAL: Final = np.array(
    [(-60, 0), (60, 0), (60, 30), (15, 30), (15, 120), (-15, 120), (-15, 30), (-60, 30)], dtype=np.float64
)
"""The outline, counter-clockwise in the body frame: [8, 2] px."""
T_CENTROID_LOCAL: Final = (0.0, 45.0 * 2700 * 5 / 3 / 6300 + 15.0 * 3600 / 6300)
"""Centroid of the area: (0, 40.714…)."""


def wrap_angle(angle_rad: float) -> float:
    """The same angle in (-pi, pi]."""
    wrapped = math.remainder(angle_rad, 2 * math.pi)
    return math.pi if wrapped <= -math.pi else wrapped


def to_world(points_local: Array, pose: Sequence[float]) -> Array:
    """Body-frame points [n, 2] in the table's frame."""
    c, s = math.cos(pose[2]), math.sin(pose[2])
    x, y = points_local[:, 0], points_local[:, 1]
    return np.stack((pose[0] + c * x - s * y, pose[1] + s * x + c * y), axis=1)


def to_local(point: Sequence[float], pose: Sequence[float]) -> Point:
    """A table point in the body frame."""
    c, s = math.cos(pose[2]), math.sin(pose[2])
    dx, dy = point[0] - pose[0], point[1] - pose[1]
    return c * dx + s * dy, -s * dx + c * dy


def t_outline(pose: Sequence[float]) -> Array:
    """The eight corners of the T at `pose`: [8, 2] px."""
    return to_world(T_OUTLINE_LOCAL, pose)


def t_rectangles(pose: Sequence[float]) -> tuple[list[Point], list[Point]]:
    """Bar and stem as lists of four corners."""
    c, s = math.cos(pose[2]), math.sin(pose[2])
    px, py = pose[0], pose[1]

    def corners(x0: float, x1: float, y0: float, y1: float) -> list[Point]:
        local = ((x0, y0), (x1, y0), (x1, y1), (x0, y1))
        return [(px + c * x - s * y, py + s * x + c * y) for x, y in local]

    return corners(*BAR_LOCAL), corners(*STEM_LOCAL)


def clip_to_box(polygon: list[Point], box: tuple[float, float, float, float]) -> list[Point]:
    """Sutherland-Hodgman: a convex polygon cut to an axis-aligned box (x low, x high, y low, y high)."""
    for axis, bound, sign in ((0, box[0], 1.0), (0, box[1], -1.0), (1, box[2], 1.0), (1, box[3], -1.0)):
        if not polygon:
            break
        out: list[Point] = []
        previous = polygon[-1]
        d0 = sign * (previous[axis] - bound)
        for point in polygon:
            d1 = sign * (point[axis] - bound)
            if d0 * d1 < 0.0:
                t = d0 / (d0 - d1)
                out.append((previous[0] + t * (point[0] - previous[0]), previous[1] + t * (point[1] - previous[1])))
            if d1 >= 0.0:
                out.append(point)
            previous, d0 = point, d1
        polygon = out
    return polygon


def polygon_area(polygon: Sequence[Point]) -> float:
    """Area of a simple polygon (shoelace), never negative."""
    total = 0.0
    x0, y0 = polygon[-1] if polygon else (0.0, 0.0)
    for x1, y1 in polygon:
        total += x0 * y1 - x1 * y0
        x0, y0 = x1, y1
    return abs(total) / 2


def coverage(pose: Sequence[float], goal: Sequence[float] = GOAL_POSE) -> float:
    """Share of the goal T that the T at `pose` covers, in [0, 1]; exact (two pairs of disjoint rectangles)."""
    c, s = math.cos(goal[2]), math.sin(goal[2])
    dx, dy = pose[0] - goal[0], pose[1] - goal[1]
    relative = (c * dx + s * dy, -s * dx + c * dy, pose[2] - goal[2])
    total = 0.0
    for rectangle in t_rectangles(relative):
        for box in (BAR_LOCAL, STEM_LOCAL):
            total += polygon_area(clip_to_box(rectangle, box))
    return total / T_AREA_PX2


def keypoint_error(pose: Sequence[float], goal: Sequence[float] = GOAL_POSE) -> float:
    """Mean distance in px between the eight corners at `pose` and at `goal`."""
    difference = t_outline(pose) - t_outline(goal)
    return float(np.sqrt((difference * difference).sum(axis=1)).mean())


def distance_to_t(point: Sequence[float], pose: Sequence[float]) -> float:
    """Distance in px from a point to the T; 0 inside."""
    x, y = to_local(point, pose)
    return min(
        math.hypot(max(x0 - x, 0.0, x - x1), max(y0 - y, 0.0, y - y1)) for x0, x1, y0, y1 in (BAR_LOCAL, STEM_LOCAL)
    )


def agent_overlaps_t(agent_xy: Sequence[float], pose: Sequence[float], margin_px: float = 0.0) -> bool:
    """Whether the pusher's disc comes closer to the T than `margin_px`."""
    return distance_to_t(agent_xy, pose) < AGENT_RADIUS_PX + margin_px


def t_touches_wall(pose: Sequence[float], margin_px: float = 0.0) -> bool:
    """Whether a corner of the T is closer to a wall's inner face than `margin_px`, or behind it."""
    outline = t_outline(pose)
    return bool(outline.min() < WALL_LOW_PX + margin_px or outline.max() > WALL_HIGH_PX - margin_px)
