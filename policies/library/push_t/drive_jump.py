"""Set the target on the next way point at once, and on the end of the stroke: as fast as the controller goes."""

from __future__ import annotations

from policies.library.push_t.kit import Params, Point, Push, View, distance


class Jump:
    """Passes a way point at `corner_px`; the start and the end of a stroke count as reached within `near_px`."""

    def __init__(self, corner_px: float, near_px: float) -> None:
        self._corner_px = corner_px
        self._near_px = near_px
        self._path: list[Point] = []

    def begin(self, path: list[Point]) -> None:
        self._path = list(path)

    def follow(self, view: View, last: Point) -> tuple[Point, bool]:
        while len(self._path) > 1 and distance(view.agent, self._path[0]) < self._corner_px:
            self._path.pop(0)
        return self._path[0], len(self._path) == 1 and distance(view.agent, self._path[0]) < self._near_px

    def push(self, view: View, push: Push, last: Point, step_px: float) -> tuple[Point, bool]:
        return push.end, distance(view.agent, push.end) < self._near_px


def make(params: Params) -> Jump:
    """The module with its knobs set."""
    return Jump(params.get("corner_px", 15.0), params.get("near_px", 8.0))
