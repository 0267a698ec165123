"""Stiff at all times: what is stiff is precise."""

from __future__ import annotations

from policies.library.pin_insertion.kit import Memory, Params


class Stiff:
    """One high stiffness."""

    def __init__(self, stiff_N_per_m: float) -> None:
        self._stiff_N_per_m = stiff_N_per_m

    def stiffness(self, memory: Memory) -> tuple[float, float]:
        return self._stiff_N_per_m, 40.0


def make(params: Params) -> Stiff:
    """The module with its knobs set."""
    return Stiff(params.get("stiff_N_per_m", 2000.0))
