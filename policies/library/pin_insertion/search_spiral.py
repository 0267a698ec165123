"""Slide along an Archimedean spiral from the middle outwards, pressed on the plate."""

from __future__ import annotations

import math

from policies.library.pin_insertion.kit import DT_S, Memory, Offset, Params, View


class Spiral:
    """Turns `pitch_m` apart at a constant path speed `slide_m_s`, out to `reach_m`."""

    def __init__(self, pitch_m: float, slide_m_s: float, reach_m: float) -> None:
        self._growth = pitch_m / (2 * math.pi)
        self._step_m, self._reach_m = slide_m_s * DT_S, reach_m
        self.reset()

    def reset(self) -> None:
        self._angle = 0.0

    def step(self, view: View, memory: Memory) -> Offset | None:
        radius = self._growth * self._angle
        if radius > self._reach_m:
            return None
        self._angle += self._step_m / math.hypot(radius, self._growth)
        return Offset(radius * math.cos(self._angle), radius * math.sin(self._angle))


def make(params: Params) -> Spiral:
    """The module with its knobs set."""
    return Spiral(params.get("pitch_m", 0.0004), params.get("slide_m_s", 0.004), params.get("reach_m", 0.0018))
