"""Integrate every difference between wanted and measured TCP, in the air and in contact."""

from __future__ import annotations

import numpy as np

from policies.library.pin_insertion.kit import DT_S, Array, Memory, Params, View


class Always:
    """Gain `integral_gain_Hz` for all axes at all times."""

    LIMIT_M = 0.02

    def __init__(self, gain_Hz: float) -> None:
        self._share = gain_Hz * DT_S
        self.reset()

    def reset(self) -> None:
        self._sum: Array = np.zeros(3)

    def add(self, goal: Array, view: View, memory: Memory) -> Array:
        self._sum = np.clip(self._sum + self._share * (goal - view.reading.tcp[:3]), -self.LIMIT_M, self.LIMIT_M)
        return self._sum.copy()


def make(params: Params) -> Always:
    """The module with its knobs set."""
    return Always(params.get("integral_gain_Hz", 2.0))
