"""Soft at all times: what is soft finds its way and hurts nothing."""

from __future__ import annotations

from policies.library.pin_insertion.kit import Memory, Params


class Soft:
    """One low stiffness."""

    def __init__(self, soft_N_per_m: float) -> None:
        self._soft_N_per_m = soft_N_per_m

    def stiffness(self, memory: Memory) -> tuple[float, float]:
        return self._soft_N_per_m, 10.0


def make(params: Params) -> Soft:
    """The module with its knobs set."""
    return Soft(params.get("soft_N_per_m", 60.0))
