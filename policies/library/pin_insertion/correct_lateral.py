"""Integrate the lateral error also while the pin slides over the plate; the height only at rest in free air."""

from __future__ import annotations

import numpy as np

from policies.library.pin_insertion.kit import DT_S, Array, Memory, Params, View

FREE = ("approach", "lift")
STILL_M = 0.001
"""An arm that moves more than this in a control period is on its way: what is missing then is no stiction."""
LIMIT_M = 0.02


class Lateral:
    """Gain `integral_gain_Hz` in free air, `sliding_gain_Hz` for x and y while searching; nothing once inside."""

    def __init__(self, gain_Hz: float, sliding_Hz: float) -> None:
        self._free: Array = np.full(3, gain_Hz * DT_S)
        self._sliding: Array = np.array([sliding_Hz * DT_S, sliding_Hz * DT_S, 0.0])
        self.reset()

    def reset(self) -> None:
        self._sum: Array = np.zeros(3)
        self._last: Array | None = None

    def add(self, goal: Array, view: View, memory: Memory) -> Array:
        here = view.reading.tcp[:3]
        still = self._last is not None and float(np.abs(here - self._last).max()) < STILL_M
        self._last = here.copy()
        gain: Array = np.zeros(3)
        if memory.phase in FREE and not view.touching and still:
            gain = self._free
        elif memory.phase == "search":
            gain = self._sliding
        self._sum = np.clip(self._sum + gain * (goal - here), -LIMIT_M, LIMIT_M)
        return self._sum.copy()


def make(params: Params) -> Lateral:
    """The module with its knobs set."""
    return Lateral(params.get("integral_gain_Hz", 2.0), params.get("sliding_gain_Hz", 1.0))
