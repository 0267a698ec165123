"""No reaction to forces."""

from __future__ import annotations

from policies.library.pin_insertion.kit import Array, Memory, Params, View


class Trust:
    """Every goal is allowed."""

    def reset(self) -> None:
        """Nothing to forget."""

    def allow(self, goal: Array, view: View, memory: Memory) -> Array | None:
        return goal


def make(params: Params) -> Trust:
    """The module with its knobs set."""
    return Trust()
