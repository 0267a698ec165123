"""What one camera says of the pin, from its frames over the held periods."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from environments.fusion import GuardBand, Opinion
from environments.pin_insertion import spec
from environments.pin_insertion.start import hole_offset
from environments.pin_insertion.vision import Sight, look
from nightlab.contracts import Frame

Floats = NDArray[np.float64]

BAND = GuardBand(spec.SUCCESS_DEPTH_m, *spec.GUARD_BAND_m, spec.SETTLE_MARGIN_m)


@dataclass(frozen=True, slots=True)
class CameraView:
    """The pin as one camera sees it: medians over its frames. Without `depth_m` the camera is blind."""

    camera: str
    frames: int
    depth_m: float | None = None
    """Of the tip below the plate's top, if the pin stands upright; negative above it."""
    lateral_m: float = 0.0
    """Distance of the pin's axis from the target hole's at the plate's top."""
    tilt_rad: float = 0.0
    spread_m: float = 0.0
    """Largest less smallest depth over the frames, beyond which the pin moves."""
    hole: int = -1
    """The hole nearest to the pin's axis."""
    misfit_m: float = 0.0
    visible_share: float = 0.0

    @property
    def stands(self) -> bool:
        """Whether the pin can stand in the target hole: near its axis, upright, not deeper than it is."""
        return (
            self.depth_m is not None
            and self.lateral_m <= spec.LATERAL_TOLERANCE_m
            and self.tilt_rad <= spec.UPRIGHT_rad
            and self.depth_m <= spec.DEEPEST_m
        )

    def opinion(self, *, last: bool) -> Opinion:
        """SUCCESS, FAILURE, or UNSURE inside the guard band (of the `last` look only if blind)."""
        if self.depth_m is None:
            return Opinion.UNSURE
        if not self.stands:
            return Opinion.FAILURE
        return BAND.settled(self.depth_m) if last else BAND.opinion(self.depth_m)


def view(camera: str, frames: Sequence[Frame], target: int) -> CameraView:
    """Look at each frame of a camera; it is blind if fewer than half of them show head and plate clearly."""
    sights = [sight for sight in (look(frame) for frame in frames) if clear(sight)]
    if 2 * len(sights) <= len(frames):
        return CameraView(camera, len(frames))
    heads = [sight.head for sight in sights if sight.head is not None]
    depths = [head.depth_m for head in heads]
    at: Floats = np.median([head.at_mouth_xy for head in heads], axis=0)
    away = [math.dist(at, hole_offset(hole)) for hole in range(spec.HOLES)]
    return CameraView(
        camera=camera,
        frames=len(frames),
        depth_m=float(np.mean(depths)),
        lateral_m=away[target],
        tilt_rad=float(np.median([head.tilt_rad for head in heads])),
        spread_m=max(depths) - min(depths),
        hole=int(np.argmin(away)),
        misfit_m=float(np.median([head.misfit_m for head in heads])),
        visible_share=min(head.visible_share for head in heads),
    )


def clear(sight: Sight) -> bool:
    """Whether plate and head are both seen well enough to measure on."""
    plate, head = sight.plate, sight.head
    if plate is None or head is None:
        return False
    return (
        plate.markers >= spec.MIN_MARKERS
        and plate.misfit_m <= spec.MAX_PLATE_MISFIT_m
        and head.visible_share >= spec.MIN_VISIBLE_SHARE
        and head.misfit_m <= spec.MAX_HEAD_MISFIT_m
    )
