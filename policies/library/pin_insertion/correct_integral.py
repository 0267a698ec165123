"""In free air, integrate what the arm falls short of its goal by, by the encoders; keep the sum in contact."""

from __future__ import annotations

import numpy as np

from policies.library.pin_insertion.kit import DT_S, Array, Memory, Params, View

FREE = ("approach", "lift")
WINDOW_M = 0.003
"""Larger errors are motion, not stiction: they are not integrated."""
LIMIT_M = 0.02


class Integral:
    """Gain `integral_gain_Hz`; fixed on the way, and while the pin touches anything."""

    def __init__(self, gain_Hz: float) -> None:
        self._share = gain_Hz * DT_S
        self.reset()

    def reset(self) -> None:
        self._sum: Array = np.zeros(3)

    def add(self, goal: Array, view: View, memory: Memory) -> Array:
        error = goal - view.reading.tcp[:3]
        if memory.phase in FREE and not view.touching and float(np.abs(error).max()) < WINDOW_M:
            self._sum = np.clip(self._sum + self._share * error, -LIMIT_M, LIMIT_M)
        return self._sum.copy()


def make(params: Params) -> Integral:
    """The module with its knobs set."""
    return Integral(params.get("integral_gain_Hz", 2.0))
