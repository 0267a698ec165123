"""Turn the T with the longest lever until its angle is right; then slide it home over its flat faces."""

from __future__ import annotations

import numpy as np

from nightlab import geometry as g
from policies.library.push_t.kit import Grid, Params, Push, View, contacts, make_push, reachable


class RotateFirst:
    """Angle before place: rotate while the angle is off by more than `angle_tolerance_rad`."""

    def __init__(self, tolerance_rad: float) -> None:
        self._tolerance_rad = tolerance_rad
        self._slide = _FlatFace()

    def propose(self, view: View, grid: Grid) -> list[Push]:
        turn = g.wrap_angle(g.GOAL_POSE[2] - view.pose[2])
        if abs(turn) <= self._tolerance_rad:
            pushes = self._slide.propose(view, grid)
            if pushes:
                return pushes
        spots = contacts(grid.spacing_px)
        starts, directions = spots.starts(view.pose), spots.directions(view.pose[2])
        arms = spots.arms(g.T_COG_LOCAL)
        lever = arms * np.sign(turn)
        usable = reachable(starts) & (lever > 5.0)
        per_px = np.abs(arms / g.T_INERTIA) / (1 + arms**2 / g.T_INERTIA)
        pushes = []
        for i in np.argsort(-lever):
            if usable[i]:
                step = grid.stroke_step_px
                stroke = min(max(round(abs(turn) / float(per_px[i]) / step), 1) * step, 42.0)
                pushes.append(make_push(starts[i], directions[i], stroke, stroke))
        return pushes


class _FlatFace:
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


def make(params: Params) -> RotateFirst:
    """The module with its knobs set."""
    return RotateFirst(params.get("angle_tolerance_rad", 0.06))
