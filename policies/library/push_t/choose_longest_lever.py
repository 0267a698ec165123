"""Push where the lever is longest: the end of the T moves most for the least effort."""

from __future__ import annotations

import numpy as np

from nightlab import geometry as g
from policies.library.push_t.kit import Grid, Params, Push, View, contacts, make_push, reachable


class LongestLever:
    """Contacts by lever arm, among those that push towards the goal."""

    def propose(self, view: View, grid: Grid) -> list[Push]:
        spots = contacts(grid.spacing_px)
        starts, directions = spots.starts(view.pose), spots.directions(view.pose[2])
        shift = np.subtract(g.GOAL_POSE[:2], view.pose[:2])
        along = directions @ shift
        arms = np.abs(spots.arms(g.T_COG_LOCAL))
        usable = reachable(starts) & (along > 0.0)
        stroke = min(float(np.hypot(*shift)) + 10.0, grid.stroke_max_px)
        return [make_push(starts[i], directions[i], stroke, stroke) for i in np.argsort(-arms) if usable[i]]


def make(params: Params) -> LongestLever:
    """The module with its knobs set."""
    return LongestLever()
