"""What the station's sensors say of pin and holes. Estimates only: the verdict comes from the cameras."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from environments.pin_insertion.spec import HOLES, IN_HOLE_m
from environments.pin_insertion.start import hole_offset
from nightlab.contracts import Values
from nightlab.skills import rotation
from nightlab.skills.rotation import tilt_rad

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Insertion:
    """Where the tip is, relative to the hole nearest to it."""

    hole: int
    lateral_m: float
    """Distance of the tip from the hole's axis."""
    depth_m: float
    """Of the tip below the plate; negative above it."""
    tilt_rad: float
    in_target: bool
    """Near enough to the axis of the target hole to be in it."""

    @property
    def in_hole(self) -> bool:
        """Whether the tip is below the plate within a hole, sensor errors allowed for."""
        return self.depth_m > 0.0 and self.lateral_m <= IN_HOLE_m


def insertion(values: Values) -> Insertion:
    """Tip against holes, from `pin_estimate`, `hole_estimate` and `target_hole` of one observation."""
    tip, mouth = values["pin_estimate"], values["hole_estimate"]
    target = round(float(values["target_hole"][0]))
    x, y = float(tip[0] - mouth[0]), float(tip[1] - mouth[1])
    here = hole_offset(target)
    lateral, hole = min(
        (math.hypot(x + here[0] - other[0], y + here[1] - other[1]), number)
        for number, other in ((number, hole_offset(number)) for number in range(HOLES))
    )
    return Insertion(
        hole=hole,
        lateral_m=lateral,
        depth_m=float(mouth[2] - tip[2]),
        tilt_rad=tilt_rad(np.asarray(tip[3:], dtype=np.float64)),
        in_target=hole == target and lateral <= IN_HOLE_m,
    )


def lean_rad(values: Values) -> float:
    """How far the pin leans in the right gripper, by the pin sensor; a turn about its axis is none."""
    tool, pin = (np.asarray(values[key][3:], dtype=np.float64) for key in ("right_tcp", "pin_estimate"))
    return rotation.lean_rad(tool, pin)


def mean_values(seen: Sequence[Values], key: str) -> Array:
    """A channel averaged over observations."""
    average: Array = np.mean([values[key] for values in seen], axis=0)
    return average
