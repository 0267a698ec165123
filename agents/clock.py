"""How long a stage takes by the clock: `40`, or `lognormal:40:0.5` (median in s, sigma of the logarithm).

With it a researcher without a language model thinks as long as one with it, so that what robots wait for is measured
with the real flows, stations and schedule.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

from nightlab.errors import UsageError


@dataclass(frozen=True, slots=True)
class StageClock:
    """A lognormal time in s; with `sigma` 0 it is always the median."""

    median_s: float
    sigma: float = 0.0

    @property
    def mean_s(self) -> float:
        """Expected time: median × exp(sigma² / 2)."""
        return self.median_s * math.exp(self.sigma**2 / 2)

    def draw_s(self, seed: int) -> float:
        """The time that belongs to a seed."""
        return self.median_s * math.exp(random.Random(seed).gauss(0.0, self.sigma)) if self.sigma else self.median_s


def parse_clock(text: str) -> StageClock:
    """Read `40` or `lognormal:MEDIAN_S:SIGMA`; empty: no time at all.

    Raises:
        UsageError: anything else, or a negative number.
    """
    kind, *numbers = text.split(":") if ":" in text else ["", text or "0"]
    try:
        values = [float(number) for number in numbers]
    except ValueError:
        values = []
    wanted = {"": 1, "lognormal": 2}.get(kind, -1)
    if len(values) != wanted or not all(0 <= value < math.inf for value in values):
        raise UsageError(
            f"time {text!r}: seconds, or lognormal:MEDIAN_S:SIGMA, both 0 or more. Try: --think lognormal:40:0.5"
        )
    return StageClock(*values)
