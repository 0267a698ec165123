"""Where the pin's head is on the plate, from one RGB-D frame: detection, segmentation by colour, plane fit, pose fit.

1. Pixels are told apart by hue: the orange head and the four markers in the corners of the plate.
2. The plate's plane is fitted to the depth of the dark pixels between the markers. Inverse depth is linear in the pixel
   and its noise the same everywhere, so that is linear least squares.
3. The markers' centres on that plane give the plate's frame by a rigid fit. So nothing depends on where a camera was
   mounted, only on its focal length.
4. A cube of 12 mm is fitted to the depth of the head's pixels: from above a plane through its top face, else
   Gauss-Newton on the distances, along each pixel's ray, between what was measured and the cube's surface. Which face
   a ray meets comes from the cube, not from the noise.

Frame `plate`: origin at the centre of the plate's top, z up, x and y along its edges; metres, rad. Camera frame: x right,
y down, z forward.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from nightlab import pin_box as box
from nightlab.contracts import Frame

Floats = NDArray[np.float64]
Mask = NDArray[np.uint8]

HUES: Final[Mapping[str, tuple[int, int]]] = {
    "orange": (7, 18),
    "yellow": (20, 32),
    "green": (52, 80),
    "blue": (104, 124),
    "red": (174, 5),
}
"""Hue of each colour in OpenCV's half degrees, from … to; red wraps."""
MARKERS: Final = ("red", "green", "blue", "yellow")
"""Colour of the marker beside hole 0, 1, 2, 3."""
MARKER_INSET_m: Final = 0.008
MARKER_RADIUS_m: Final = 0.005
MARKER_HEIGHT_m: Final = 0.0004
MIN_SATURATION, MIN_VALUE = 110, 45
DARK_SATURATION, DARK_VALUE = 100, 120
"""The plate is darker and greyer than this."""
MIN_MARKER_PX: Final = 40
MIN_PLANE_PX: Final = 400
MIN_HEAD_PX: Final = 60
"""Fewer orange pixels are no head: hidden."""
STEEP: Final = 0.9
"""A camera that looks down more than this (cosine to the vertical) sees the head's top only."""
MOST_POINTS, FEW_POINTS = 400, 120
MARKER_MISFIT_m: Final = 0.0006
"""A marker that lies farther than this from its place is partly hidden and left out."""
FIRST_ROUNDS, ROUNDS = 4, 5
PRIOR_TILT_rad: Final = 0.06
PRIOR_XY_m: Final = 0.01
DEPTH_SIGMA_m: Final = 0.001
YAWS: Final = 5
"""First guesses of the head's turn, over a quarter turn."""


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


@dataclass(frozen=True, slots=True)
class Head:
    """The pin's head in the plate's frame."""

    centre: Floats
    """[3] m, of the cube."""
    axis: Floats
    """[3], unit, from the tip towards the head."""
    misfit_m: float
    """Root mean square distance of the measured points from the cube along their rays."""
    visible_share: float
    """Pixels of the head over those that the fitted cube would show."""

    @property
    def tilt_rad(self) -> float:
        """Angle of the pin from upright."""
        return math.acos(min(1.0, float(self.axis[2])))

    @property
    def depth_m(self) -> float:
        """How far the tip is below the plate's top if the pin stands upright, as one in a hole must (2 degrees: 0.03 mm)."""
        return float(box.GRASP_TO_TIP_m - self.centre[2])

    @property
    def at_mouth_xy(self) -> Floats:
        """[2] m: where the pin's axis meets the plate's top."""
        return np.asarray(self.centre[:2] - self.axis[:2] * (self.centre[2] / self.axis[2]), dtype=np.float64)


@dataclass(frozen=True, slots=True)
class Sight:
    """What was found in a frame; None where nothing was."""

    plate: Plate | None
    head: Head | None


def look(frame: Frame) -> Sight:
    """Find plate and head in a frame with depth of one of `pin_box.CAMERAS`."""
    if frame.depth_m is None or frame.camera not in box.CAMERAS:
        return Sight(None, None)
    shot = _shot(frame.camera, frame.rgb, frame.depth_m)
    plate = find_plate(shot)
    if plate is None:
        return Sight(None, None)
    return Sight(plate, find_head(shot, plate))


@dataclass(frozen=True, slots=True)
class Shot:
    """What is looked at of a frame: the part that is not black."""

    hsv: Mask
    depth_m: NDArray[np.float32]
    x_of: Floats
    """x/z of each column of pixels."""
    y_of: Floats
    """y/z of each row."""
    focal_px: float

    def ray(self, column: float, row: float) -> Floats:
        """Direction [3] of a place in the picture, z = 1."""
        x = np.interp(column, np.arange(len(self.x_of)), self.x_of)
        return np.array([x, np.interp(row, np.arange(len(self.y_of)), self.y_of), 1.0])


def _shot(camera: str, rgb: NDArray[np.uint8], depth_m: NDArray[np.float32]) -> Shot:
    x_of, y_of = _rays(camera)
    rows = np.flatnonzero(rgb[:, ::8].any(axis=(1, 2)))
    columns = np.flatnonzero(rgb[::8].any(axis=(0, 2)))
    if not len(rows) or not len(columns):
        rows, columns = np.array([0, 7]), np.array([0, 7])
    down, across = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    hsv = cv2.cvtColor(rgb[down, across], cv2.COLOR_RGB2HSV)
    return Shot(hsv, depth_m[down, across], x_of[across], y_of[down], box.focal_px(camera))


@dataclass(frozen=True, slots=True)
class Blob:
    """The largest connected patch of one colour."""

    mask: Mask
    """Cut out of the picture: 1 where the patch is."""
    corner: tuple[int, int]
    """Row and column of the cut-out's first pixel."""
    centre: Floats
    """[2] column, row of its centre, px."""
    area_px: int


def find_blob(hsv: Mask, colour: str) -> Blob | None:
    """The largest patch of a colour; None if there is no such pixel."""
    low, high = HUES[colour]
    least = (MIN_SATURATION, MIN_VALUE)
    mask = cv2.inRange(hsv, (low, *least), (high if high > low else 180, 255, 255))
    if low > high:
        mask |= cv2.inRange(hsv, (0, *least), (high, 255, 255))
    column, row, width, height = cv2.boundingRect(mask)
    if not width:
        return None
    part = mask[row : row + height, column : column + width]
    _, labels, stats, centres = cv2.connectedComponentsWithStats(part, connectivity=8)
    best = 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA]))
    left, top, wide, high_px, area = (int(value) for value in stats[best])
    inside = labels[top : top + high_px, left : left + wide] == best
    return Blob(inside.astype(np.uint8), (row + top, column + left), centres[best] + (column, row), area)


@cache
def _rays(camera: str) -> tuple[Floats, Floats]:
    """x/z of each column and y/z of each row of pixels."""
    width, height = box.IMAGE_PX
    focal = box.focal_px(camera)
    columns, rows = np.arange(width, dtype=np.float64), np.arange(height, dtype=np.float64)
    x_of: Floats = (columns + 0.5 - width / 2) / focal
    y_of: Floats = (rows + 0.5 - height / 2) / focal
    return x_of, y_of


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


def find_head(shot: Shot, plate: Plate) -> Head | None:
    """The head's pose; None if too little of it is seen."""
    blob = find_blob(shot.hsv, "orange")
    if blob is None or blob.area_px < MIN_HEAD_PX:
        return None
    eye = plate.shift
    middle = plate.turn @ shot.ray(float(blob.centre[0]), float(blob.centre[1]))
    above = abs(float(middle[2]) / float(np.linalg.norm(middle))) > STEEP
    inner = cv2.erode(blob.mask, np.ones((3, 3), np.uint8), iterations=2, borderValue=0)
    rows, columns = np.nonzero(inner)
    rows, columns = rows + blob.corner[0], columns + blob.corner[1]
    measured = shot.depth_m[rows, columns].astype(np.float64)
    seen = measured > 0
    if np.count_nonzero(seen) < MIN_HEAD_PX // 2:
        return None
    rays = np.column_stack([shot.x_of[columns], shot.y_of[rows], np.ones(len(rows))])[seen]
    directions = rays @ plate.turn.T  # of length > 1: one unit of depth along the optical axis
    cube = fit_top(eye, directions, measured[seen], middle) if above else fit_cube(eye, directions, measured[seen])
    share = blob.area_px / max(1.0, _silhouette_px2(shot.focal_px, plate, cube))
    return Head(cube.centre, cube.turn[:, 2], cube.misfit_m, min(1.0, share))


@dataclass(frozen=True, slots=True)
class Cube:
    """A cube of the head's size."""

    centre: Floats
    turn: Floats
    misfit_m: float


def fit_top(eye: Floats, directions: Floats, measured: Floats, middle: Floats) -> Cube:
    """The cube seen from above: a plane through its top face, and the ray `middle` through the face's centre.

    Its turn about the axis is not told.
    """
    points = eye + directions * measured[:, None]
    x, y = points[:, 0] - points[:, 0].mean(), points[:, 1] - points[:, 1].mean()
    system = np.column_stack([np.ones(len(x)), x, y])
    keep: NDArray[np.bool_] = np.ones(len(x), dtype=np.bool_)
    plane, error = np.array([np.median(points[:, 2]), 0.0, 0.0]), points[:, 2] - np.median(points[:, 2])
    for _ in range(4):  # pixels on the edge of the head show what lies behind it
        spread = max(2e-4, 1.4826 * float(np.median(np.abs(error[keep]))))
        keep = np.abs(error) <= 3.0 * spread
        used = system[keep]
        normal = used.T @ used + np.diag([0.0, 1.0, 1.0]) * (spread / PRIOR_TILT_rad) ** 2
        plane = np.linalg.solve(normal, used.T @ points[keep, 2])
        error = points[:, 2] - system @ plane
    up = np.array([-plane[1], -plane[2], 1.0])
    up /= np.linalg.norm(up)
    anchor = np.array([points[:, 0].mean(), points[:, 1].mean(), plane[0]])
    face = eye + middle * float(up @ (anchor - eye)) / float(up @ middle)
    face[2] = plane[0]
    first = np.cross([0.0, 1.0, 0.0], up)
    first /= np.linalg.norm(first)
    turn = np.column_stack([first, np.cross(up, first), up])
    return Cube(face - up * box.HEAD_m / 2, turn, float(np.sqrt(np.mean(error[keep] ** 2))))


def fit_cube(eye: Floats, directions: Floats, measured: Floats) -> Cube:
    """The cube whose surface lies where the rays from `eye` along `directions` (plate frame) were measured."""
    points = eye + directions * measured[:, None]
    middle = np.median(points, axis=0)
    away = middle - eye
    start = middle + away / np.linalg.norm(away) * box.HEAD_m / 2
    few = slice(None, None, max(1, len(measured) // FEW_POINTS))
    guesses = [_upright(math.pi / 2 * number / YAWS) for number in range(YAWS)]
    found = [_descend(eye, directions[few], measured[few], start, guess, FIRST_ROUNDS) for guess in guesses]
    best = min(found, key=lambda cube: cube.misfit_m)
    most = slice(None, None, max(1, len(measured) // MOST_POINTS))
    return _descend(eye, directions[most], measured[most], best.centre, best.turn, ROUNDS)


def _upright(yaw_rad: float) -> Floats:
    c, s = math.cos(yaw_rad), math.sin(yaw_rad)
    return np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])


def _descend(eye: Floats, directions: Floats, measured: Floats, start: Floats, turn: Floats, rounds: int) -> Cube:
    """Gauss-Newton from one first guess."""
    half, centre = box.HEAD_m / 2, start.copy()
    misfit = math.inf
    for _ in range(rounds):
        predicted, normals, hit = _cast(eye, directions, centre, turn, half)
        if np.count_nonzero(hit) < MIN_HEAD_PX // 4:
            break
        error = measured[hit] - predicted[hit]
        n, rays = normals[hit], directions[hit]
        along = np.einsum("ij,ij->i", n, rays)
        arm = eye + rays * predicted[hit][:, None] - centre
        jacobian = np.column_stack([n, np.cross(arm, n)]) / along[:, None]
        limit = 3.0 * max(2e-4, 1.4826 * float(np.median(np.abs(error))))
        weight = np.minimum(1.0, limit / np.maximum(np.abs(error), 1e-12)) / DEPTH_SIGMA_m**2
        system = (jacobian * weight[:, None]).T @ jacobian
        right = (jacobian * weight[:, None]).T @ error
        system[:2, :2] += np.eye(2) / PRIOR_XY_m**2
        right[:2] += (start[:2] - centre[:2]) / PRIOR_XY_m**2
        lean = np.array([-turn[1, 2], turn[0, 2]])  # the rotation that made it lean
        system[3:5, 3:5] += np.eye(2) / PRIOR_TILT_rad**2
        right[3:5] -= lean / PRIOR_TILT_rad**2
        system[5, 5] += 1e3
        step = np.linalg.solve(system, right)
        step[:3] = np.clip(step[:3], -0.006, 0.006)
        step[3:] = np.clip(step[3:], -0.3, 0.3)
        centre = centre + step[:3]
        turn = cv2.Rodrigues(step[3:])[0] @ turn
        misfit = float(np.sqrt(np.mean(np.minimum(error**2, limit**2)))) + 0.002 * float(np.mean(~hit))
    return Cube(centre, turn, misfit)


def _cast(
    eye: Floats, directions: Floats, centre: Floats, turn: Floats, half: float
) -> tuple[Floats, Floats, NDArray[np.bool_]]:
    """Depth at which each ray meets the cube, the outward normal there (plate frame), and whether it does."""
    origin = (eye - centre) @ turn
    local = directions @ turn
    safe = np.where(np.abs(local) < 1e-9, 1e-9, local)
    enter = (-np.sign(safe) * half - origin) / safe
    leave = (np.sign(safe) * half - origin) / safe
    face = np.argmax(enter, axis=1)
    near = enter[np.arange(len(face)), face]
    hit = near <= leave.min(axis=1)
    sign = -np.sign(local[np.arange(len(face)), face])
    normals = (turn[:, face] * sign).T
    return near, normals, hit


def _silhouette_px2(focal_px: float, plate: Plate, cube: Cube) -> float:
    """Area of the cube's outline in the picture."""
    half = box.HEAD_m / 2
    corners = np.array([[x, y, z] for x in (-half, half) for y in (-half, half) for z in (-half, half)])
    world = cube.centre + corners @ cube.turn.T
    seen = (world - plate.shift) @ plate.turn
    pixels = focal_px * seen[:, :2] / np.maximum(seen[:, 2:], 1e-3)
    return float(cv2.contourArea(cv2.convexHull(pixels.astype(np.float32))))
