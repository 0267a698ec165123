"""Give way along a large force, in proportion to what is too much."""

from __future__ import annotations

import numpy as np

from policies.library.pin_insertion.kit import Array, Memory, Params, View


class Yield:
    """Above `yield_N` the goal moves with the force by its excess ÷ stiffness, taken from where the tip is."""

    def __init__(self, yield_N: float) -> None:
        self._yield_N = yield_N

    def reset(self) -> None:
        """Nothing to forget."""

    def allow(self, goal: Array, view: View, memory: Memory) -> Array | None:
        force = view.reading.force
        size_N = float(np.linalg.norm(force))
        if size_N <= self._yield_N:
            return goal
        return goal + force / size_N * ((size_N - self._yield_N) / memory.stiffness_N_per_m)


def make(params: Params) -> Yield:
    """The module with its knobs set."""
    return Yield(params.get("yield_N", 12.0))
