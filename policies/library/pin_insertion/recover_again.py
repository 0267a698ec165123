"""A search that is over, or an insertion that is stuck, begins again from the air at the same place."""

from __future__ import annotations

from policies.library.pin_insertion.kit import DT_S, Memory, Params, View


class Again:
    """Lifts when the pattern is over, or after `stuck_s` without progress inside the hole."""

    def __init__(self, stuck_s: float) -> None:
        self._stuck_ticks = stuck_s / DT_S

    def reset(self) -> None:
        """Nothing to forget."""

    def verdict(self, view: View, memory: Memory, *, searched: bool) -> str:
        stuck = memory.phase == "insert" and memory.idle_ticks > self._stuck_ticks
        return "lift" if searched or stuck else "go"


def make(params: Params) -> Again:
    """The module with its knobs set."""
    return Again(params.get("stuck_s", 2.0))
