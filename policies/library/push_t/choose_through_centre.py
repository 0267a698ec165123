"""Get behind the T as seen from the goal and push straight towards the goal."""

from __future__ import annotations

import math

from nightlab import geometry as g
from policies.library.push_t.kit import GAP_PX, Grid, Params, Push, View, make_push


class ThroughCentre:
    """One push: along the line from the T's middle to the goal's middle."""

    def propose(self, view: View, grid: Grid) -> list[Push]:
        middle = g.to_world(_MIDDLE, view.pose)[0]
        goal = g.to_world(_MIDDLE, g.GOAL_POSE)[0]
        dx, dy = goal[0] - middle[0], goal[1] - middle[1]
        length = math.hypot(dx, dy)
        if length < 1.0:
            return []
        direction = dx / length, dy / length
        back = g.AGENT_RADIUS_PX + GAP_PX
        while g.distance_to_t((middle[0] - direction[0] * back, middle[1] - direction[1] * back), view.pose) < (
            g.AGENT_RADIUS_PX + GAP_PX
        ):
            back += 3.0
        start = middle[0] - direction[0] * back, middle[1] - direction[1] * back
        return [make_push(start, direction, min(length, grid.stroke_max_px), length)]


_MIDDLE = g.T_OUTLINE_LOCAL[:1] * 0 + g.T_COG_LOCAL


def make(params: Params) -> ThroughCentre:
    """The module with its knobs set."""
    return ThroughCentre()
