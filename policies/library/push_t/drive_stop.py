"""Stop at every way point before going on, and advance the target in small steps while pushing."""

from __future__ import annotations

from policies.library.push_t.kit import Params, Point, Push, View, distance, ramp


class Stop:
    """A way point counts as reached within `arrive_px`; the stroke within `end_px`."""

    def __init__(self, arrive_px: float, end_px: float) -> None:
        self._arrive_px = arrive_px
        self._end_px = end_px
        self._path: list[Point] = []

    def begin(self, path: list[Point]) -> None:
        self._path = list(path)

    def follow(self, view: View, last: Point) -> tuple[Point, bool]:
        if len(self._path) > 1 and distance(view.agent, self._path[0]) < self._arrive_px:
            self._path.pop(0)
        return self._path[0], len(self._path) == 1 and distance(view.agent, self._path[0]) < self._arrive_px

    def push(self, view: View, push: Push, last: Point, step_px: float) -> tuple[Point, bool]:
        return ramp(view, push, last, step_px, self._end_px)


def make(params: Params) -> Stop:
    """The module with its knobs set."""
    return Stop(params.get("arrive_px", 6.0), params.get("end_px", 1.5))
