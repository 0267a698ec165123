"""Stand still while the force is large."""

from __future__ import annotations

from policies.library.pin_insertion.kit import Array, Memory, Params, View


class Freeze:
    """Above `freeze_N` the latest goal that was allowed stays."""

    def __init__(self, freeze_N: float) -> None:
        self._freeze_N = freeze_N
        self.reset()

    def reset(self) -> None:
        self._last: Array | None = None

    def allow(self, goal: Array, view: View, memory: Memory) -> Array | None:
        if view.load_N > self._freeze_N and self._last is not None:
            return self._last
        self._last = goal
        return goal


def make(params: Params) -> Freeze:
    """The module with its knobs set."""
    return Freeze(params.get("freeze_N", 12.0))
