"""Feed gently while the tip draws small circles, so that it never sticks."""

from __future__ import annotations

import math

import numpy as np

from policies.library.pin_insertion.kit import DT_S, Array, Memory, Params, View


class Wiggle:
    """Circles of `wiggle_m` at `wiggle_Hz` about the place of entry, fed with `feed_N`."""

    def __init__(self, feed_N: float, wiggle_m: float, wiggle_Hz: float) -> None:
        self._feed_N, self._wiggle_m, self._turn = feed_N, wiggle_m, 2 * math.pi * wiggle_Hz * DT_S

    def reset(self) -> None:
        """Nothing to forget."""

    def way(self, view: View, memory: Memory) -> Array:
        angle = self._turn * memory.phase_ticks
        circle = self._wiggle_m * np.array([math.cos(angle), math.sin(angle)])
        return np.array([*(memory.entry + circle), view.tip[2] - self._feed_N / memory.stiffness_N_per_m])


def make(params: Params) -> Wiggle:
    """The module with its knobs set."""
    return Wiggle(params.get("feed_N", 8.0), params.get("wiggle_m", 0.0005), params.get("wiggle_Hz", 2.0))
