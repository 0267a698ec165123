"""Begin again from the air, somewhere else: the estimate may be further off than the search reached."""

from __future__ import annotations

from policies.library.pin_insertion.kit import DT_S, Memory, Params, View


class Shift:
    """Like a plain new attempt, but the centre moves by a random `shift_m` per axis (one sigma)."""

    def __init__(self, stuck_s: float, shift_m: float) -> None:
        self._stuck_ticks, self._shift_m = stuck_s / DT_S, shift_m

    def reset(self) -> None:
        """Nothing to forget."""

    def verdict(self, view: View, memory: Memory, *, searched: bool) -> str:
        if searched or (memory.phase == "insert" and memory.idle_ticks > self._stuck_ticks):
            memory.centre = view.hole[:2] + memory.rng.normal(0.0, self._shift_m, 2)
            return "lift"
        return "go"


def make(params: Params) -> Shift:
    """The module with its knobs set."""
    return Shift(params.get("stuck_s", 2.0), params.get("shift_m", 0.0007))
