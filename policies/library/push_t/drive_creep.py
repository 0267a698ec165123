"""Move slowly everywhere: what is slow is precise and does not disturb the T."""

from __future__ import annotations

from policies.library.push_t.kit import Params, Point, Push, View, advance, distance, ramp


class Creep:
    """The target advances by at most `creep_px` per control period."""

    def __init__(self, creep_px: float) -> None:
        self._creep_px = creep_px
        self._path: list[Point] = []

    def begin(self, path: list[Point]) -> None:
        self._path = list(path)

    def follow(self, view: View, last: Point) -> tuple[Point, bool]:
        if len(self._path) > 1 and distance(view.agent, self._path[0]) < 8.0:
            self._path.pop(0)
        arrived = len(self._path) == 1 and distance(view.agent, self._path[0]) < 6.0
        return advance(last, self._path[0], self._creep_px), arrived

    def push(self, view: View, push: Push, last: Point, step_px: float) -> tuple[Point, bool]:
        return ramp(view, push, last, min(step_px, self._creep_px), 1.5)


def make(params: Params) -> Creep:
    """The module with its knobs set."""
    return Creep(params.get("creep_px", 9.0))
