"""Press lightly: a goal a little below the plate, for a force that lets the pin slide."""

from __future__ import annotations

from policies.library.pin_insertion.kit import Memory, Params, View, surface_m


class Light:
    """As deep below the plate as the commanded stiffness needs for `light_N`."""

    def __init__(self, light_N: float) -> None:
        self._light_N = light_N

    def reset(self) -> None:
        """Nothing to forget."""

    def height(self, view: View, memory: Memory) -> float:
        return surface_m(view, memory) - self._light_N / memory.stiffness_N_per_m


def make(params: Params) -> Light:
    """The module with its knobs set."""
    return Light(params.get("light_N", 4.0))
