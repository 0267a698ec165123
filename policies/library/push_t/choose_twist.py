"""Predict each push with the quasi-static twist and take the contact and stroke that leave the smallest pose error."""

from __future__ import annotations

import numpy as np

from nightlab import geometry as g
from policies.library.push_t import twist
from policies.library.push_t.kit import Grid, Params, Push, View, contacts, make_push, pose_error, reachable


class Twist:
    """Search over contacts × strokes by predicted pose error; what gains less than `min_gain_px` is no push."""

    def __init__(self, cog_x_px: float, cog_y_px: float, min_gain_px: float, walk_weight: float) -> None:
        self._cog = (cog_x_px, cog_y_px)
        self._min_gain_px = min_gain_px
        self._walk_weight = walk_weight

    def propose(self, view: View, grid: Grid) -> list[Push]:
        spots = contacts(grid.spacing_px)
        starts, directions = spots.starts(view.pose), spots.directions(view.pose[2])
        rows = np.flatnonzero(reachable(starts))
        if not len(rows):
            return []
        now = pose_error(view.pose)
        stroke_max = min(grid.stroke_max_px, max(3.0 * now, 4 * grid.stroke_step_px))
        poses = twist.sweep(view.pose, spots, rows, stroke_max, grid.stroke_step_px, self._cog)
        error = twist.errors(poses)[1:]
        best = error.argmin(axis=0)
        least = error[best, np.arange(len(rows))]
        walk = np.hypot(starts[rows, 0] - view.agent[0], starts[rows, 1] - view.agent[1])
        pushes = []
        for k in np.argsort(least + self._walk_weight * walk):
            gain = now - float(least[k])
            if gain >= self._min_gain_px:
                stroke = (int(best[k]) + 1) * grid.stroke_step_px
                pushes.append(make_push(starts[rows[k]], directions[rows[k]], stroke, gain, float(least[k])))
        return pushes


def make(params: Params) -> Twist:
    """The module with its knobs set."""
    return Twist(
        params.get("cog_x_px", g.T_COG_LOCAL[0]),
        params.get("cog_y_px", g.T_COG_LOCAL[1]),
        params.get("min_gain_px", 0.3),
        params.get("walk_weight", 0.0),
    )
