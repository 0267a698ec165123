"""Down at a measured pace, never far ahead of the tip."""

from __future__ import annotations

import numpy as np

from policies.library.pin_insertion.kit import Array, Memory, Params, View


class Gentle:
    """The goal is below the tip by what the stiffness needs for `feed_N`; laterally at the place of entry."""

    def __init__(self, feed_N: float) -> None:
        self._feed_N = feed_N

    def reset(self) -> None:
        """Nothing to forget."""

    def way(self, view: View, memory: Memory) -> Array:
        return np.array([*memory.entry, view.tip[2] - self._feed_N / memory.stiffness_N_per_m])


def make(params: Params) -> Gentle:
    """The module with its knobs set."""
    return Gentle(params.get("feed_N", 8.0))
