"""No search: press where the estimate says."""

from __future__ import annotations

from policies.library.pin_insertion.kit import Memory, Offset, Params, View


class Stay:
    """Always the centre."""

    def reset(self) -> None:
        """Nothing to forget."""

    def step(self, view: View, memory: Memory) -> Offset | None:
        return Offset(0.0, 0.0)


def make(params: Params) -> Stay:
    """The module with its knobs set."""
    return Stay()
