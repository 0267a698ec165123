"""Slide around the estimate on one circle, pressed on the plate."""

from __future__ import annotations

import math

from policies.library.pin_insertion.kit import DT_S, Memory, Offset, Params, View

TURNS = 4


class Ring:
    """Radius `ring_m` at `slide_m_s`; over after four turns."""

    def __init__(self, ring_m: float, slide_m_s: float) -> None:
        self._ring_m, self._turn = ring_m, slide_m_s * DT_S / ring_m
        self.reset()

    def reset(self) -> None:
        self._angle = 0.0

    def step(self, view: View, memory: Memory) -> Offset | None:
        self._angle += self._turn
        if self._angle > 2 * math.pi * TURNS:
            return None
        return Offset(self._ring_m * math.cos(self._angle), self._ring_m * math.sin(self._angle))


def make(params: Params) -> Ring:
    """The module with its knobs set."""
    return Ring(params.get("ring_m", 0.0007), params.get("slide_m_s", 0.004))
