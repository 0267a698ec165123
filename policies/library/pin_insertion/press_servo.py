"""Control the force: lower or raise the goal until the wrist measures what is asked."""

from __future__ import annotations

from policies.library.pin_insertion.kit import DT_S, Memory, Params, View, surface_m

DEEP_M = 0.03


class Servo:
    """Integrates (`servo_N` − measured push) with `servo_gain_Hz`, scaled by the commanded stiffness."""

    def __init__(self, servo_N: float, gain_Hz: float) -> None:
        self._servo_N, self._share = servo_N, gain_Hz * DT_S
        self.reset()

    def reset(self) -> None:
        self._below_m = 0.0

    def height(self, view: View, memory: Memory) -> float:
        lacking_N = self._servo_N - float(view.reading.force[2])
        self._below_m += self._share * lacking_N / memory.stiffness_N_per_m
        self._below_m = min(max(self._below_m, -0.004), DEEP_M)
        return surface_m(view, memory) - self._below_m


def make(params: Params) -> Servo:
    """The module with its knobs set."""
    return Servo(params.get("servo_N", 4.0), params.get("servo_gain_Hz", 3.0))
