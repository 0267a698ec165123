"""Stiff in the air, softer on the plate, soft inside the hole."""

from __future__ import annotations

from policies.library.pin_insertion.kit import Memory, Params

FREE_N_PER_M = 2000.0


class Phased:
    """`search_N_per_m` while searching, `inside_N_per_m` once the pin is in."""

    def __init__(self, search_N_per_m: float, inside_N_per_m: float) -> None:
        self._search, self._inside = search_N_per_m, inside_N_per_m

    def stiffness(self, memory: Memory) -> tuple[float, float]:
        if memory.phase == "search":
            return self._search, 30.0
        return (self._inside, 15.0) if memory.phase == "insert" else (FREE_N_PER_M, 40.0)


def make(params: Params) -> Phased:
    """The module with its knobs set."""
    return Phased(params.get("search_N_per_m", 1200.0), params.get("inside_N_per_m", 600.0))
