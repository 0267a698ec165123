"""Command as far past the goal as the arm falls short of it."""

from __future__ import annotations

from policies.library.pin_insertion.kit import Array, Memory, Params, View


class Double:
    """Adds `overshoot_share` of the present error; half of a constant error stays, whatever the share."""

    def __init__(self, share: float) -> None:
        self._share = share

    def reset(self) -> None:
        """Nothing to forget."""

    def add(self, goal: Array, view: View, memory: Memory) -> Array:
        return self._share * (goal - view.reading.tcp[:3])


def make(params: Params) -> Double:
    """The module with its knobs set."""
    return Double(params.get("overshoot_share", 1.0))
