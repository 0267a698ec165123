"""Opinions of single cameras, and what they come to together.

A camera that measures a value has an opinion: SUCCESS or FAILURE clear of the guard band, UNSURE inside it or when it
is blind. Together: SUCCESS only if all say so, FAILURE if any says so, else UNSURE, which more frames must settle. What
stays UNSURE after that is no success: a success has to be seen.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from nightlab.records import Predicate


class Opinion(StrEnum):
    """What one camera, or all of them together, say of an episode."""

    SUCCESS = "success"
    FAILURE = "failure"
    UNSURE = "unsure"


@dataclass(frozen=True, slots=True)
class GuardBand:
    """A threshold that a value must reach, and the band around it in which one look is not enough."""

    threshold: float
    low: float
    high: float
    margin: float = 0.0
    """How far above the threshold the last look must see the value: the error that it may still have."""

    def __post_init__(self) -> None:
        if not self.low <= self.threshold <= self.high:
            raise ValueError(f"threshold {self.threshold} lies outside its guard band {self.low}..{self.high}")

    def opinion(self, value: float | None) -> Opinion:
        """Of a first look. None: blind."""
        if value is None or self.low < value < self.high:
            return Opinion.UNSURE
        return Opinion.SUCCESS if value >= self.threshold else Opinion.FAILURE

    def settled(self, value: float | None) -> Opinion:
        """Of the last look, when no more frames can be had: by threshold and margin alone. None: still blind."""
        if value is None:
            return Opinion.UNSURE
        return Opinion.SUCCESS if value >= self.threshold + self.margin else Opinion.FAILURE


def fuse(opinions: Iterable[Opinion]) -> Opinion:
    """What cameras say together; nothing seen by nobody is UNSURE."""
    said = set(opinions)
    if Opinion.FAILURE in said:
        return Opinion.FAILURE
    return Opinion.SUCCESS if said == {Opinion.SUCCESS} else Opinion.UNSURE


def at_least(name: str, value: float, low: float, unit: str = "") -> Predicate:
    """A condition with a lower bound."""
    return Predicate(name=name, value=value, low=low, passed=value >= low, unit=unit)


def at_most(name: str, value: float | None, high: float, unit: str = "") -> Predicate:
    """A condition with an upper bound. Passes for None: nothing was measured; another predicate says why."""
    return Predicate(name=name, value=value, high=high, passed=value is None or value <= high, unit=unit)
