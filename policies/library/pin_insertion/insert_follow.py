"""Give way to the hole: move the goal sideways with the force until the walls push no more, and feed gently."""

from __future__ import annotations

import numpy as np

from policies.library.pin_insertion.kit import DT_S, Array, Memory, Params, View

ASIDE_M = 0.003


class Follow:
    """Lateral goal += `follow_Hz` × force ÷ stiffness; fed with `feed_N`."""

    def __init__(self, feed_N: float, follow_Hz: float) -> None:
        self._feed_N, self._share = feed_N, follow_Hz * DT_S
        self.reset()

    def reset(self) -> None:
        self._aside: Array = np.zeros(2)

    def way(self, view: View, memory: Memory) -> Array:
        stiffness = memory.stiffness_N_per_m
        self._aside = np.clip(self._aside + self._share * view.reading.force[:2] / stiffness, -ASIDE_M, ASIDE_M)
        return np.array([*(memory.entry + self._aside), view.tip[2] - self._feed_N / stiffness])


def make(params: Params) -> Follow:
    """The module with its knobs set."""
    return Follow(params.get("feed_N", 8.0), params.get("follow_Hz", 5.0))
