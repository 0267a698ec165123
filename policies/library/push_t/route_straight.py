"""Go straight to where the push starts: the shortest way."""

from __future__ import annotations

from policies.library.push_t.kit import Params, Point, View


class Straight:
    """One way point: the goal."""

    def path(self, view: View, goal: Point) -> list[Point] | None:
        return [goal]


def make(params: Params) -> Straight:
    """The module with its knobs set."""
    return Straight()
