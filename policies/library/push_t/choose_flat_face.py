"""Push a flat face squarely, through the centre of gravity, so that the T slides and does not turn."""

from __future__ import annotations

import numpy as np

from nightlab import geometry as g
from policies.library.push_t.kit import Grid, Params, Push, View, contacts, make_push, reachable


class FlatFace:
    """On each side the contact with the smallest lever arm; the side that faces away from the goal first."""

    def propose(self, view: View, grid: Grid) -> list[Push]:
        spots = contacts(grid.spacing_px)
        starts, directions = spots.starts(view.pose), spots.directions(view.pose[2])
        middle, home = (g.to_world(np.array([g.T_COG_LOCAL]), pose)[0] for pose in (view.pose, g.GOAL_POSE))
        along = directions @ (home - middle)
        arms = np.abs(spots.arms(g.T_COG_LOCAL)) + 1e3 * ~reachable(starts)
        best: dict[tuple[int, int], int] = {}
        for i in np.argsort(arms):
            side = round(float(spots.normal[i, 0])), round(float(spots.normal[i, 1]))
            best.setdefault(side, int(i))
        pushes = []
        for i in sorted(best.values(), key=lambda k: -along[k]):
            step = grid.stroke_step_px
            stroke = min(max(round(float(along[i]) / step), 1) * step, grid.stroke_max_px)
            if along[i] > 1.0 and arms[i] < 1e3:
                pushes.append(make_push(starts[i], directions[i], stroke, float(along[i])))
        return pushes


def make(params: Params) -> FlatFace:
    """The module with its knobs set."""
    return FlatFace()
