"""The plate's frame in a camera: its markers by colour, a plane through its dark top, a rigid fit of the markers.

1. The plate's plane is fitted to the depth of the dark pixels between the markers. Inverse depth is linear in the pixel
   and its noise the same everywhere, so that is linear least squares.
2. The markers' centres on that plane give the plate's frame by a rigid fit. So nothing depends on where a camera was
   mounted, only on its focal length.

Frame `plate`: origin at the centre of the plate's top, z up, x and y along its edges; metres, rad. Camera frame: x right,
y down, z forward.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from environments.pin_insertion.patches import Shot, find_blob
from nightlab import pin_box as box

Floats = NDArray[np.float64]

MARKERS: Final = ("red", "green", "blue", "yellow")
"""Colour of the marker beside hole 0, 1, 2, 3."""
MARKER_INSET_m: Final = 0.008
MARKER_RADIUS_m: Final = 0.005
MARKER_HEIGHT_m: Final = 0.0004
DARK_SATURATION, DARK_VALUE = 100, 120
"""The plate is darker and greyer than this."""
MIN_MARKER_PX: Final = 40
MIN_PLANE_PX: Final = 400
MARKER_MISFIT_m: Final = 0.0006
"""A marker that lies farther than this from its place is partly hidden and left out."""


@dataclass(frozen=True, slots=True)
class Plate:
    """The plate in a camera: a point X of the camera frame is `turn @ X + shift` in the plate's."""

    turn: Floats
    """[3, 3]."""
    shift: Floats
    """[3] m."""
    misfit_m: float
    """Root mean square distance of the markers from their places."""
    markers: int


def marker_places() -> Floats:
    """[4, 2] m: centres of the markers in the plate's frame."""
    at = box.PLATE_EDGE_m / 2 - MARKER_INSET_m
    return np.array([[math.copysign(at, u), math.copysign(at, v)] for u, v in box.HOLES])


def find_plate(shot: Shot) -> Plate | None:
    """The plate's frame; None if fewer than three markers or too little of its top are seen."""
    seen: dict[int, Floats] = {}
    for number, colour in enumerate(MARKERS):
        blob = find_blob(shot.hsv, colour)
        if blob is not None and blob.area_px >= MIN_MARKER_PX:
            seen[number] = blob.centre
    if len(seen) < 3:
        return None
    plane = _plane(shot, np.array([seen[number] for number in seen]))
    if plane is None:
        return None
    length = float(np.linalg.norm(plane))
    level = 1.0 - MARKER_HEIGHT_m * length
    numbers = list(seen)
    rays = np.array([shot.ray(float(at[0]), float(at[1])) for at in seen.values()])
    points = rays * (level / (rays @ plane))[:, None]
    up = -plane / length
    first = np.cross(np.array([0.0, 1.0, 0.0]) if abs(up[1]) < 0.9 else np.array([1.0, 0.0, 0.0]), up)
    first /= np.linalg.norm(first)
    basis = np.stack([first, np.cross(up, first), up])
    flat = points @ basis.T
    while True:
        angle, shift, errors = _rigid(flat[:, :2], marker_places()[numbers])
        worst = int(np.argmax(errors))
        if errors[worst] <= MARKER_MISFIT_m or len(numbers) <= 3:
            break
        flat = np.delete(flat, worst, axis=0)
        del numbers[worst]
    c, s = math.cos(angle), math.sin(angle)
    turn = np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]]) @ basis
    height_m = float(np.mean(flat[:, 2])) - MARKER_HEIGHT_m
    misfit = float(np.sqrt(np.mean(errors**2)))
    return Plate(turn, np.array([*shift, -height_m]), misfit, len(numbers))


def _plane(shot: Shot, corners: Floats) -> Floats | None:
    """The n with n · X = 1 for X on the plate's top, [3] 1/m, fitted to every second dark pixel between the corners."""
    inside = np.zeros(shot.depth_m.shape, dtype=np.uint8)
    cv2.fillConvexPoly(inside, cv2.convexHull(np.rint(corners).astype(np.int32)), 1)
    hsv, near = shot.hsv[::2, ::2], shot.depth_m[::2, ::2]
    dark = (hsv[..., 1] < DARK_SATURATION) & (hsv[..., 2] < DARK_VALUE) & (inside[::2, ::2] > 0)
    rows, columns = np.nonzero(dark & (near > 0))
    if len(rows) < MIN_PLANE_PX:
        return None
    system = np.column_stack([shot.x_of[2 * columns], shot.y_of[2 * rows], np.ones(len(rows))])
    inverse = 1.0 / near[rows, columns].astype(np.float64)
    keep: NDArray[np.bool_] = np.ones(len(rows), dtype=np.bool_)
    solution: Floats = np.zeros(3)
    for _ in range(4):  # holes and shafts are outliers
        used = system[keep]
        solution = np.asarray(np.linalg.solve(used.T @ used, used.T @ inverse[keep]), dtype=np.float64)
        error = np.abs(inverse - system @ solution)
        keep = error <= 3.0 * max(1e-4, 1.4826 * float(np.median(error)))
    return solution


def _rigid(points: Floats, places: Floats) -> tuple[float, Floats, Floats]:
    """Angle and shift that turn points [n, 2] into places [n, 2], and the distances that remain."""
    middle, target = points.mean(axis=0), places.mean(axis=0)
    a, b = points - middle, places - target
    angle = math.atan2(float(np.sum(a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0])), float(np.sum(a * b)))
    c, s = math.cos(angle), math.sin(angle)
    turn = np.array([[c, -s], [s, c]])
    shift = target - turn @ middle
    return angle, shift, np.linalg.norm(points @ turn.T + shift - places, axis=1)
