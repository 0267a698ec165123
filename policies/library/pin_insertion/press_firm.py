"""Press firmly: the goal lies far below the plate."""

from __future__ import annotations

from policies.library.pin_insertion.kit import Memory, Params, View, surface_m


class Firm:
    """`firm_m` below the plate, whatever the arm's stiffness makes of it."""

    def __init__(self, firm_m: float) -> None:
        self._firm_m = firm_m

    def reset(self) -> None:
        """Nothing to forget."""

    def height(self, view: View, memory: Memory) -> float:
        return surface_m(view, memory) - self._firm_m


def make(params: Params) -> Firm:
    """The module with its knobs set."""
    return Firm(params.get("firm_m", 0.012))
