"""Integrate the lateral error at all times, also while the pin slides over the plate; the height only in free air."""

from __future__ import annotations

import numpy as np

from policies.library.pin_insertion.kit import DT_S, Array, Memory, Params, View

FREE = ("approach", "lift")
WINDOW_M = 0.003
"""Larger errors in free air are motion, not stiction: they are not integrated."""
LIMIT_M = 0.02


class Lateral:
    """Gain `integral_gain_Hz` in free air, `sliding_gain_Hz` for x and y while searching; nothing once inside."""

    def __init__(self, gain_Hz: float, sliding_Hz: float) -> None:
        self._free, self._sliding = gain_Hz * DT_S, sliding_Hz * DT_S
        self.reset()

    def reset(self) -> None:
        self._sum: Array = np.zeros(3)

    def add(self, goal: Array, view: View, memory: Memory) -> Array:
        error = goal - view.reading.tcp[:3]
        if memory.phase in FREE and not view.touching and float(np.abs(error).max()) < WINDOW_M:
            gain: Array = np.full(3, self._free)
        elif memory.phase == "search":
            gain = np.array([self._sliding, self._sliding, 0.0])
        else:
            gain = np.zeros(3)
        self._sum = np.clip(self._sum + gain * error, -LIMIT_M, LIMIT_M)
        return self._sum.copy()


def make(params: Params) -> Lateral:
    """The module with its knobs set."""
    return Lateral(params.get("integral_gain_Hz", 2.0), params.get("sliding_gain_Hz", 1.0))
