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
from environments.pin_insertion.vision import Sight

Floats = NDArray[np.float64]

BAND = GuardBand(spec.SUCCESS_DEPTH_m, *spec.GUARD_BAND_m, spec.SETTLE_MARGIN_m)


@dataclass(frozen=True, slots=True)
class CameraView:
    """The pin as one camera sees it: medians over its frames. Without `depth_m` it does not see the pin clearly."""

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
    behind_m: float | None = None
    """Without `depth_m`: how far behind the place of an inserted pin's head the camera measures; None if it cannot tell."""

    @property
    def empty(self) -> bool:
        """Whether the camera does not see the pin, but sees that it is not in the target hole."""
        return self.depth_m is None and self.behind_m is not None and self.behind_m >= spec.FREE_m

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
        """SUCCESS, FAILURE, or UNSURE inside the guard band (of the `last` look only if blind).

        A camera that does not see the pin is blind unless it sees that the target hole is empty: FAILURE.
        """
        if self.depth_m is None:
            return Opinion.FAILURE if self.empty else Opinion.UNSURE
        if not self.stands:
            return Opinion.FAILURE
        return BAND.settled(self.depth_m) if last else BAND.opinion(self.depth_m)


def view(camera: str, sights: Sequence[Sight], target: int) -> CameraView:
    """What a camera saw in its frames, `look`ed at for the target hole.

    The pin is not seen if no more than half of them show head and plate clearly.
    """
    good = [sight for sight in sights if clear(sight)]
    if 2 * len(good) <= len(sights):
        return CameraView(camera, len(sights), behind_m=_behind_m(sights))
    heads = [sight.head for sight in good if sight.head is not None]
    depths = [head.depth_m for head in heads]
    at: Floats = np.median([head.at_mouth_xy for head in heads], axis=0)
    away = [math.dist(at, hole_offset(hole)) for hole in range(spec.HOLES)]
    return CameraView(
        camera=camera,
        frames=len(sights),
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
    head = sight.head
    return (
        head is not None
        and _places_holes(sight)
        and head.visible_share >= spec.MIN_VISIBLE_SHARE
        and head.misfit_m <= spec.MAX_HEAD_MISFIT_m
    )


def _places_holes(sight: Sight) -> bool:
    """Whether the plate is seen well enough to know where its holes are."""
    plate = sight.plate
    return plate is not None and plate.markers >= spec.MIN_MARKERS and plate.misfit_m <= spec.MAX_PLATE_MISFIT_m


def _behind_m(sights: Sequence[Sight]) -> float | None:
    """Median of `Sight.behind_m`; None if no more than half of the frames tell."""
    told = [sight.behind_m for sight in sights if _places_holes(sight) and sight.behind_m is not None]
    return float(np.median(told)) if 2 * len(told) > len(sights) else None
