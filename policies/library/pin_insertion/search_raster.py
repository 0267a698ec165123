"""Slide to and fro over a square, line by line, pressed on the plate."""

from __future__ import annotations

from policies.library.pin_insertion.kit import DT_S, Memory, Offset, Params, View


class Raster:
    """Lines along x, `line_m` apart, at `slide_m_s`, over a square of half width `reach_m`; begins at its edge."""

    def __init__(self, line_m: float, slide_m_s: float, reach_m: float) -> None:
        self._line_m, self._step_m, self._reach_m = line_m, slide_m_s * DT_S, reach_m
        self.reset()

    def reset(self) -> None:
        self._way_m = 0.0

    def step(self, view: View, memory: Memory) -> Offset | None:
        side = 2 * self._reach_m
        line = int(self._way_m // side)
        y = -self._reach_m + line * self._line_m
        if y > self._reach_m:
            return None
        along = self._way_m - line * side - self._reach_m
        self._way_m += self._step_m
        return Offset(along if line % 2 == 0 else -along, y)


def make(params: Params) -> Raster:
    """The module with its knobs set."""
    return Raster(params.get("line_m", 0.0004), params.get("slide_m_s", 0.004), params.get("reach_m", 0.0018))
