"""Whether the place where a pin's head would be is empty: the camera measures what lies behind it.

The head of any pin that stands at least as deep as a success, and not through the hole's bottom, has the point
`PLACE_HEIGHT_m` above the target hole inside it. A camera whose rays go on beyond that point sees that no such pin is
there, wherever the pin is. If anything hides the point, head or gripper, the rays end before it and nothing is told.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from environments.pin_insertion import spec
from environments.pin_insertion.patches import Shot
from environments.pin_insertion.plate import Plate
from environments.pin_insertion.start import hole_offset
from nightlab import pin_box as box

PLACE_HEIGHT_m: Final = box.GRASP_TO_TIP_m - (spec.SUCCESS_DEPTH_m + box.HOLE_DEPTH_m) / 2
"""Height over the plate of the head's centre halfway between barely deep enough and the bottom: 26 mm, and the heads of
both, 12 mm high, reach from 15 or 25 to 27 or 37 mm."""
PATCH_m: Final = 0.0025
"""Half the edge of the square around the point whose rays are asked. A head reaches 6 mm to every side."""
MIN_MEASURED: Final = 0.9
"""Share of the square that must have a depth."""


def behind_m(shot: Shot, plate: Plate, hole: int) -> float | None:
    """How far behind the place of a head in a hole the camera's rays end, median, m along its axis; negative before it.

    None if the place is not wholly in the picture or not measured.
    """
    x, y, z = plate.turn.T @ (np.array([*hole_offset(hole), PLACE_HEIGHT_m]) - plate.shift)
    if z <= 0:
        return None
    left, right = np.searchsorted(shot.x_of, [(x - PATCH_m) / z, (x + PATCH_m) / z])
    top, bottom = np.searchsorted(shot.y_of, [(y - PATCH_m) / z, (y + PATCH_m) / z])
    if not (0 < left < right < len(shot.x_of) and 0 < top < bottom < len(shot.y_of)):
        return None
    depth_m = shot.depth_m[top:bottom, left:right]
    measured = depth_m[depth_m > 0]
    if measured.size < MIN_MEASURED * depth_m.size:
        return None
    return float(np.median(measured)) - float(z)
