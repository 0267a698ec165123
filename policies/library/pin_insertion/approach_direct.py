"""Straight from where the pin is to the mouth of the hole."""

from __future__ import annotations

from policies.library.pin_insertion.kit import Array, Memory, Params, View

SETTLE_TICKS = 60


class Direct:
    """The mouth is the goal from the first tick on; arrived at a touch, or when time is up."""

    def reset(self) -> None:
        """Nothing to forget."""

    def way(self, view: View, memory: Memory) -> tuple[Array, bool]:
        return view.hole.copy(), view.touching or memory.phase_ticks > SETTLE_TICKS


def make(params: Params) -> Direct:
    """The module with its knobs set."""
    return Direct()
