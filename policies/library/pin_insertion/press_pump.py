"""Press and let go in turns: friction is beaten in the moments without load."""

from __future__ import annotations

import math

from policies.library.pin_insertion.kit import DT_S, Memory, Params, View, surface_m


class Pump:
    """Between none and `pump_N`, `pump_Hz` times a second."""

    def __init__(self, pump_N: float, pump_Hz: float) -> None:
        self._pump_N, self._pump_Hz = pump_N, pump_Hz

    def reset(self) -> None:
        """Nothing to forget."""

    def height(self, view: View, memory: Memory) -> float:
        share = 0.5 - 0.5 * math.cos(2 * math.pi * self._pump_Hz * memory.phase_ticks * DT_S)
        return surface_m(view, memory) - share * self._pump_N / memory.stiffness_N_per_m


def make(params: Params) -> Pump:
    """The module with its knobs set."""
    return Pump(params.get("pump_N", 12.0), params.get("pump_Hz", 1.5))
