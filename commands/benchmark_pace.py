"""The speed of `nightlab benchmark mru`: what a fast host carries, lowered where the warm-up comes to less."""

from __future__ import annotations

import math
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
LOOK_S: Final = 120.0
"""Over the latest so many wall seconds."""
LOOK_AFTER_S: Final = 240.0
"""`FAR_TOO_FAST` is not asked before so many wall seconds have passed since the first episode."""


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
    """A speed that a host carries which came to `achieved` when more was asked of it; in quarters.

    Four fifths: another warm-up costs more time than a fifth of the speed.
    """
    return max(SLOWEST, math.floor(4 * 0.8 * achieved) / 4)


def check_speed(spec: CampaignSpec, events: Sequence[Event], now_s: float, *, warm: bool) -> None:
    """Compare the speed of the latest time with the declared one.

    Args:
        spec: the campaign.
        events: of it.
        now_s: wall clock, s.
        warm: the warm-up is over.

    Raises:
        TooFast: less, and there is a lower speed.
    """
    from data.metrics import measure

    starts = [event.data["reset_begin"]["wall_s"] for event in events if event.kind == "episode"]
    if spec.speed <= SLOWEST or not starts or not (warm or now_s - min(starts) >= LOOK_AFTER_S):
        return
    achieved = measure(spec, list(events), window=(now_s - LOOK_S, now_s)).achieved_speed
    if achieved is not None and achieved < (CARRIED if warm else FAR_TOO_FAST) * spec.speed:
        raise TooFast(spec.stations, spec.speed, achieved)
