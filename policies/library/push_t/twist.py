"""The quasi-static twist of a pushed T, integrated for many pushes at once.

Without friction and with all momentum lost at once, a push by u along −n at lever arm a moves the centre of gravity by
−n u / (1 + a²/I) and turns the T by (a/I) u / (1 + a²/I), with mass 1 and I the moment of inertia. The pusher goes
straight; the T turns under it, so normal, contact point and arm are computed anew every `STEP_PX`.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from nightlab import geometry as g
from policies.library.push_t.kit import Array, Contacts, Point, Pose, pose_errors

STEP_PX: Final = 3.0


def sweep(pose: Pose, spots: Contacts, rows: NDArray[np.intp], stroke_px: float, step_px: float, cog: Point) -> Array:
    """Poses [steps + 1, k, 3] of the T along a push at each of the contacts `rows`, every `step_px` of the stroke."""
    normal, touch = spots.normal[rows], spots.touch[rows]
    tangent = np.stack((-normal[:, 1], normal[:, 0]), axis=1)
    reach_low, reach_high = spots.edge_low[rows], spots.edge_high[rows]
    angle = np.full(len(rows), pose[2])
    gx, gy = g.to_world(np.array([cog]), pose)[0]
    cx, cy = np.full(len(rows), gx), np.full(len(rows), gy)
    centre = g.to_world(touch + normal * g.AGENT_RADIUS_PX, pose)
    qx, qy = centre[:, 0], centre[:, 1]
    c0, s0 = math.cos(pose[2]), math.sin(pose[2])
    dx, dy = -(c0 * normal[:, 0] - s0 * normal[:, 1]), -(s0 * normal[:, 0] + c0 * normal[:, 1])
    inner = max(1, math.ceil(step_px / STEP_PX))
    ds = step_px / inner
    count = max(1, round(stroke_px / step_px))
    out = np.empty((count + 1, len(rows), 3))
    alive = np.ones(len(rows))
    for step in range(count + 1):
        c, s = np.cos(angle), np.sin(angle)
        out[step, :, 0] = cx - (c * cog[0] - s * cog[1])
        out[step, :, 1] = cy - (s * cog[0] + c * cog[1])
        out[step, :, 2] = angle
        if step == count:
            break
        for _ in range(inner):
            c, s = np.cos(angle), np.sin(angle)
            nx, ny = c * normal[:, 0] - s * normal[:, 1], s * normal[:, 0] + c * normal[:, 1]
            rx, ry = qx - g.AGENT_RADIUS_PX * nx - cx, qy - g.AGENT_RADIUS_PX * ny - cy
            along = (c * rx + s * ry + cog[0]) * tangent[:, 0] + (-s * rx + c * ry + cog[1]) * tangent[:, 1]
            alive = alive * ((along > reach_low) & (along < reach_high))
            arm = -(rx * ny - ry * nx)
            u = ds * np.maximum(-(dx * nx + dy * ny), 0.0) * alive
            j = u / (1 + arm * arm / g.T_INERTIA)
            cx, cy = cx - nx * j, cy - ny * j
            angle = angle + arm * j / g.T_INERTIA
            qx, qy = qx + dx * ds, qy + dy * ds
    return out


def errors(poses: Array) -> Array:
    """Pose error [steps, k] of poses [steps, k, 3]; infinite where the T would touch a wall."""
    error = pose_errors(poses[..., 0], poses[..., 1], poses[..., 2])
    c, s = np.cos(poses[..., 2])[..., None], np.sin(poses[..., 2])[..., None]
    lx, ly = _HULL[:, 0], _HULL[:, 1]
    x, y = poses[..., 0, None] + c * lx - s * ly, poses[..., 1, None] + s * lx + c * ly
    low, high = g.WALL_LOW_PX + 1, g.WALL_HIGH_PX - 1
    outside = (x.min(-1) < low) | (x.max(-1) > high) | (y.min(-1) < low) | (y.max(-1) > high)
    return np.where(outside, np.inf, error)


_HULL = g.T_OUTLINE_LOCAL[[0, 1, 2, 4, 5, 7]]
