"""Walk around the T on a circle wide enough for every angle of it: simple and safe."""

from __future__ import annotations

import math

import numpy as np

from nightlab import geometry as g
from policies.library.push_t.kit import REACH_HIGH_PX, REACH_LOW_PX, Params, Point, View


class Circle:
    """Out to the circle about the T's middle, along it by the shorter side, then in."""

    def __init__(self, radius_px: float) -> None:
        self._radius_px = radius_px

    def path(self, view: View, goal: Point) -> list[Point] | None:
        mx, my = g.to_world(_MIDDLE, view.pose)[0]
        a0 = math.atan2(view.agent[1] - my, view.agent[0] - mx)
        a1 = math.atan2(goal[1] - my, goal[0] - mx)
        turn = g.wrap_angle(a1 - a0)
        count = max(1, math.ceil(abs(turn) / 0.5))
        radius = self._radius_px
        points = []
        for k in range(count + 1):
            angle = a0 + turn * k / count
            x, y = mx + radius * math.cos(angle), my + radius * math.sin(angle)
            points.append((min(max(x, REACH_LOW_PX), REACH_HIGH_PX), min(max(y, REACH_LOW_PX), REACH_HIGH_PX)))
        return [*points, goal]


_MIDDLE = np.array([[0.0, 50.0]])


def make(params: Params) -> Circle:
    """The module with its knobs set."""
    return Circle(params.get("circle_radius_px", 105.0))
