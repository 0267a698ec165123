"""The speed of `nightlab benchmark mru`: what a fast host carries, lowered where the warm-up comes to less."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import Final

from nightlab.errors import ServiceError
from nightlab.records import CampaignSpec, Event

SPEEDS: Final = ((2, 8.0), (8, 3.0), (16, 1.5), (64, 0.5))
"""Speed up to so many stations: what two cores of a fast host carry with less than 1 % of the actions late."""
SLOWEST: Final = 0.25
CARRIED: Final = 0.96
"""Achieved over declared speed at the end of the warm-up; what comes to less is begun anew at a lower speed."""
FAR_TOO_FAST: Final = 0.8
"""The same so early that the rest of the warm-up need not be waited for."""
LOOK_S, LOOK_AFTER_S = 120.0, 240.0
"""Over the latest so many wall seconds, and not before so many have passed since the first episode."""


class TooFast(ServiceError):
    """This host does not carry the speed."""

    def __init__(self, stations: int, speed: float, achieved: float) -> None:
        self.slower = slower(achieved)
        super().__init__(
            f"{stations} stations at {speed:g}× come to {achieved:.2f}× on this host; once more at {self.slower:g}×"
        )


def first_speed(stations: int) -> float:
    """What to begin with."""
    return next(speed for most, speed in SPEEDS if stations <= most)


def slower(achieved: float) -> float:
    """A speed that a host carries which came to `achieved` when more was asked of it; in quarters."""
    return max(SLOWEST, math.floor(4 * 0.9 * achieved) / 4)


def check_speed(spec: CampaignSpec, events: Sequence[Event], least: float, now_s: float | None = None) -> None:
    """Compare the speed of the latest time with the declared one.

    Args:
        spec: the campaign.
        events: of it.
        least: what its share must be.
        now_s: wall clock, s; None: now.

    Raises:
        TooFast: less, and there is a lower speed.
    """
    from data.metrics import measure

    now_s = time.time() if now_s is None else now_s
    starts = [event.data["reset_begin"]["wall_s"] for event in events if event.kind == "episode"]
    if spec.speed <= SLOWEST or not starts or now_s - min(starts) < LOOK_AFTER_S:
        return
    achieved = measure(spec, list(events), window=(now_s - LOOK_S, now_s)).achieved_speed
    if achieved is not None and achieved < least * spec.speed:
        raise TooFast(spec.stations, spec.speed, achieved)
