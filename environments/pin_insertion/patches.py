"""What of a camera frame is looked at, and the patches of one colour in it. Pixels are told apart by hue."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from nightlab import pin_box as box

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
MIN_SATURATION, MIN_VALUE = 110, 45


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


def shot_of(camera: str, rgb: NDArray[np.uint8], depth_m: NDArray[np.float32]) -> Shot:
    """A frame of one of `pin_box.CAMERAS`, cut down to what is not black."""
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
