"""Tap along a spiral: lift, move to the next point, set down, listen."""

from __future__ import annotations

import math

from policies.library.pin_insertion.kit import DT_S, Memory, Offset, Params, View


class Hop:
    """Points `hop_m` apart on a spiral of that pitch out to `reach_m`; `hop_s` each, a third of it in the air."""

    def __init__(self, hop_m: float, hop_s: float, reach_m: float) -> None:
        self._hop_m, self._ticks, self._reach_m = hop_m, max(3, round(hop_s / DT_S)), reach_m
        self.reset()

    def reset(self) -> None:
        self._tick = 0
        self._angle = 0.0

    def step(self, view: View, memory: Memory) -> Offset | None:
        growth = self._hop_m / (2 * math.pi)
        radius = growth * self._angle
        if radius > self._reach_m:
            return None
        place = radius * math.cos(self._angle), radius * math.sin(self._angle)
        self._tick += 1
        if self._tick % self._ticks == 0:
            self._angle += self._hop_m / math.hypot(radius, growth)
        airborne = self._tick % self._ticks < self._ticks // 3
        return Offset(*place, lift_m=0.0015 if airborne else 0.0)


def make(params: Params) -> Hop:
    """The module with its knobs set."""
    return Hop(params.get("hop_m", 0.0004), params.get("hop_s", 0.3), params.get("reach_m", 0.0018))
