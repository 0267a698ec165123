"""In free air, integrate what the arm rests short of its goal, by the encoders; keep the sum in contact."""

from __future__ import annotations

import numpy as np

from policies.library.pin_insertion.kit import DT_S, Array, Memory, Params, View

FREE = ("approach", "lift")
STILL_M = 0.001
"""An arm that moves more than this in a control period is on its way: what is missing then is no stiction."""
LIMIT_M = 0.02


class Integral:
    """Gain `integral_gain_Hz`; fixed on the way, and while the pin touches anything."""

    def __init__(self, gain_Hz: float) -> None:
        self._share = gain_Hz * DT_S
        self.reset()

    def reset(self) -> None:
        self._sum: Array = np.zeros(3)
        self._last: Array | None = None

    def add(self, goal: Array, view: View, memory: Memory) -> Array:
        here = view.reading.tcp[:3]
        still = self._last is not None and float(np.abs(here - self._last).max()) < STILL_M
        self._last = here.copy()
        if still and memory.phase in FREE and not view.touching:
            self._sum = np.clip(self._sum + self._share * (goal - here), -LIMIT_M, LIMIT_M)
        return self._sum.copy()


def make(params: Params) -> Integral:
    """The module with its knobs set."""
    return Integral(params.get("integral_gain_Hz", 2.0))
