"""Whether the scene is ready for an episode, by the cameras: pin in the right hand, its tip where the start has it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from environments.pin_insertion.locate import held_tip
from environments.pin_insertion.start import hole_offset
from nightlab.contracts import Frame

CAMERA_TOLERANCE_m = 0.008
"""Largest distance of the tip in the cameras from the asked one: the head, half hidden by the fingers, is seen to
about 2 mm and 0.1 rad, and the tip hangs 46 mm below it."""


@dataclass(frozen=True, slots=True)
class Readiness:
    """What the cameras say."""

    ready: bool
    reason: str = ""


def ready(frames: Sequence[Frame], achieved: Mapping[str, float]) -> Readiness:
    """Compare what the cameras see with the start that the sensors say is achieved."""
    found = held_tip(frames)
    if found is None:
        return Readiness(False, "no camera sees the pin's head")
    x, y = hole_offset(int(achieved["hole"]))
    told = np.array([x + achieved["tip_x_m"], y + achieved["tip_y_m"], achieved["tip_z_m"]])
    off_m = float(np.linalg.norm(found[0] - told))
    if off_m > CAMERA_TOLERANCE_m:
        return Readiness(False, f"the tip is {1000 * off_m:.1f} mm off; {1000 * CAMERA_TOLERANCE_m:g} mm are allowed")
    return Readiness(True)
