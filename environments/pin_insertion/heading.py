"""Which way a pin lies: from the picture of the camera that looks straight down."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from environments.pin_insertion.locate import Found, without_rack
from environments.pin_insertion.patches import find_blob
from nightlab import pin_box as box
from nightlab.contracts import Frame
from nightlab.errors import SkillError

Floats = NDArray[np.float64]

FROM_m: Final = 0.010
TO_m: Final = 0.038
"""From where to where on the shaft is looked, from the head's centre."""
BESIDE_m: Final = 0.0045
"""How far beside the shaft's middle its surroundings are looked at."""
DIRECTIONS: Final = 180
HIGH_m: Final = box.PLATE_TOP_m + 0.015
"""A head higher than this belongs to a pin that leans."""
MIN_CONTRAST: Final = 6.0
"""Grey values by which the shaft must differ from what is beside it."""


def heading_of(frames: Sequence[Frame], found: Found) -> float:
    """Direction from the head to the tip, rad, table frame, of a pin that lies, or leans: then its shaft looks short.

    Raises SkillError if the camera that looks down does not see the shaft of one that lies.
    """
    seen = next((lying_heading(frame) for frame in frames if frame.camera == "top"), None)
    if seen is not None:
        return seen
    x, y, z = (float(v) for v in found.head)
    if z < HIGH_m:
        raise SkillError(f"the pin lies, its head at ({x:.3f}, {y:.3f}, {z:.3f}) m, and its shaft is not seen")
    return math.atan2(float(found.pose[1]) - y, float(found.pose[0]) - x)


def lying_heading(frame: Frame) -> float | None:
    """Direction from a lying pin's head to its tip, rad, table frame; None: no head, or nothing like a shaft beside it.

    Of all directions around the head that one in which a strip as wide as the shaft differs most from both its sides,
    whatever it lies on.
    """
    if frame.depth_m is None:
        return None
    blob = find_blob(cv2.cvtColor(without_rack(frame).rgb, cv2.COLOR_RGB2HSV), "orange")
    if blob is None:
        return None
    column, row = (int(value) for value in blob.centre)
    far_m = float(np.median(frame.depth_m[max(0, row - 2) : row + 3, max(0, column - 2) : column + 3]))
    if far_m <= 0.0:
        return None
    scale = box.focal_px("top") / far_m  # px per m
    grey = cv2.GaussianBlur(cv2.cvtColor(frame.rgb, cv2.COLOR_RGB2GRAY), (3, 3), 0).astype(np.float64)
    along: Floats = np.arange(FROM_m * scale, TO_m * scale, dtype=np.float64)
    angles: Floats = np.linspace(0.0, 2 * math.pi, DIRECTIONS, endpoint=False, dtype=np.float64)
    left, middle, right = (_strip(grey, blob.centre, angles, along, side * BESIDE_m * scale) for side in (-1, 0, 1))
    to_left, to_right = middle - left, middle - right
    apart = np.minimum(np.abs(to_left), np.abs(to_right)) * (np.sign(to_left) == np.sign(to_right))
    contrast = np.median(apart, axis=1)
    best = int(np.argmax(contrast))
    return float(math.remainder(angles[best], 2 * math.pi)) if contrast[best] >= MIN_CONTRAST else None


def _strip(grey: Floats, centre: Floats, angles: Floats, along: Floats, aside: float) -> Floats:
    """Grey values [directions, places] on rays from `centre`, `aside` px beside them; the picture's y points down."""
    c, s = np.cos(angles)[:, None], np.sin(angles)[:, None]
    x = centre[0] + c * along - s * aside
    y = centre[1] - s * along - c * aside
    return np.asarray(
        cv2.remap(grey.astype(np.float32), x.astype(np.float32), y.astype(np.float32), cv2.INTER_LINEAR),
        dtype=np.float64,
    )
