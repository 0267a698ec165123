"""Where the pin's head is on the plate, from one RGB-D frame: detection, segmentation by colour, plane fit, pose fit.

Patches of colour (`patches`), the plate's frame from its markers (`plate`), a cube fitted to the head's depth (`cube`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from environments.pin_insertion.cube import MIN_HEAD_PX, Cube, fit_cube, fit_top
from environments.pin_insertion.patches import Shot, find_blob, shot_of
from environments.pin_insertion.plate import Plate, find_plate
from environments.pin_insertion.vacancy import behind_m
from nightlab import pin_box as box
from nightlab.contracts import Frame

Floats = NDArray[np.float64]

STEEP: Final = 0.9
"""A camera that looks down more than this (cosine to the vertical) sees the head's top only."""


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
    behind_m: float | None = None
    """How far behind the place of a head in the hole that was asked about the camera measures (`vacancy.behind_m`)."""


def look(frame: Frame, hole: int | None = None) -> Sight:
    """Find plate and head in a frame with depth of one of `pin_box.CAMERAS`, and whether a hole's place is empty."""
    if frame.depth_m is None or frame.camera not in box.CAMERAS:
        return Sight(None, None)
    shot = shot_of(frame.camera, frame.rgb, frame.depth_m)
    plate = find_plate(shot)
    if plate is None:
        return Sight(None, None)
    return Sight(plate, find_head(shot, plate), None if hole is None else behind_m(shot, plate, hole))


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


def _silhouette_px2(focal_px: float, plate: Plate, cube: Cube) -> float:
    """Area of the cube's outline in the picture."""
    half = box.HEAD_m / 2
    corners = np.array([[x, y, z] for x in (-half, half) for y in (-half, half) for z in (-half, half)])
    world = cube.centre + corners @ cube.turn.T
    seen = (world - plate.shift) @ plate.turn
    pixels = focal_px * seen[:, :2] / np.maximum(seen[:, 2:], 1e-3)
    return float(cv2.contourArea(cv2.convexHull(pixels.astype(np.float32))))
