"""Try every push in a private pymunk simulation first and take the one that ends best."""

from __future__ import annotations

import math

import numpy as np
import pymunk

from nightlab import geometry as g
from policies.library.push_t import twist
from policies.library.push_t.kit import (
    Array,
    Grid,
    Params,
    Pose,
    Push,
    View,
    contacts,
    make_push,
    pose_error,
    reachable,
)  # fmt: skip


class Rollout:
    """Search by simulation: contacts × strokes; what gains less than `min_gain_px` is no push."""

    def __init__(self, cog_x_px: float, cog_y_px: float, min_gain_px: float, walk_weight: float) -> None:
        self._cog = (cog_x_px, cog_y_px)
        self._min_gain_px = min_gain_px
        self._walk_weight = walk_weight
        self._space = pymunk.Space()
        self._space.damping = 0.0
        self._agent = pymunk.Body(body_type=pymunk.Body.KINEMATIC)
        self._block = pymunk.Body(g.T_MASS, g.T_INERTIA)
        shapes = [
            pymunk.Poly(self._block, [(x0, y0), (x1, y0), (x1, y1), (x0, y1)])
            for x0, x1, y0, y1 in (g.BAR_LOCAL, g.STEM_LOCAL)
        ]
        self._block.center_of_gravity = self._cog
        self._space.add(self._agent, pymunk.Circle(self._agent, g.AGENT_RADIUS_PX), self._block, *shapes)

    def _sweep(self, pose: Pose, centre: Array, direction: Array, count: int, step_px: float) -> Array:
        agent, block, space = self._agent, self._block, self._space
        inner = max(1, math.ceil(step_px / 2.5))
        dt = 0.01
        speed = step_px / inner / dt
        agent.position = float(centre[0]), float(centre[1])
        agent.velocity = float(direction[0] * speed), float(direction[1] * speed)
        block.velocity, block.angular_velocity = (0.0, 0.0), 0.0
        block.angle = pose[2]
        block.position = pose[0], pose[1]
        space.reindex_shapes_for_body(block)
        space.reindex_shapes_for_body(agent)
        out = np.empty((count, 3))
        for step in range(count):
            for _ in range(inner):
                space.step(dt)
            x, y = block.position
            out[step] = x, y, block.angle
        return out

    def propose(self, view: View, grid: Grid) -> list[Push]:
        spots = contacts(grid.spacing_px)
        starts, directions = spots.starts(view.pose), spots.directions(view.pose[2])
        rows = np.flatnonzero(reachable(starts))
        if not len(rows):
            return []
        now = pose_error(view.pose)
        stroke_max = min(grid.stroke_max_px, max(2.0 * now, 4 * grid.stroke_step_px))
        step_px = grid.stroke_step_px
        count = max(1, round(stroke_max / step_px))
        centres = spots.starts(view.pose, 0.0)
        poses = np.stack([self._sweep(view.pose, centres[i], directions[i], count, step_px) for i in rows], axis=1)
        error = twist.errors(poses)
        best = error.argmin(axis=0)
        least = error[best, np.arange(len(rows))]
        walk = np.hypot(starts[rows, 0] - view.agent[0], starts[rows, 1] - view.agent[1])
        pushes = []
        for k in np.argsort(least + self._walk_weight * walk):
            gain = now - float(least[k])
            if gain >= self._min_gain_px:
                stroke = (int(best[k]) + 1) * step_px
                pushes.append(make_push(starts[rows[k]], directions[rows[k]], stroke, gain, float(least[k])))
        return pushes


def make(params: Params) -> Rollout:
    """The module with its knobs set."""
    return Rollout(
        params.get("cog_x_px", g.T_COG_LOCAL[0]),
        params.get("cog_y_px", g.T_COG_LOCAL[1]),
        params.get("min_gain_px", 0.3),
        params.get("walk_weight", 0.0),
    )
