"""Shake the pin at random about the estimate, pressed on the plate."""

from __future__ import annotations

from policies.library.pin_insertion.kit import Memory, Offset, Params, View


class Shake:
    """A new random place within ±`shake_m` every tick."""

    def __init__(self, shake_m: float) -> None:
        self._shake_m = shake_m

    def reset(self) -> None:
        """Nothing to forget."""

    def step(self, view: View, memory: Memory) -> Offset | None:
        x, y = memory.rng.uniform(-self._shake_m, self._shake_m, 2)
        return Offset(float(x), float(y))


def make(params: Params) -> Shake:
    """The module with its knobs set."""
    return Shake(params.get("shake_m", 0.001))
