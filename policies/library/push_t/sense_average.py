"""While nobody pushes the T it lies still: average what the sensor says about it."""

from __future__ import annotations

import math
from collections import deque

from policies.library.push_t.kit import Params, Point, Pose, View


class Average:
    """Mean of up to `frames` observations since the last touch; a jump beyond `jump_px` starts anew."""

    def __init__(self, frames: int, jump_px: float) -> None:
        self._poses: deque[Pose] = deque(maxlen=frames)
        self._jump_px = jump_px

    def reset(self) -> None:
        self._poses.clear()

    def look(self, agent: Point, pose: Pose, *, touching: bool) -> View:
        if touching:
            self._poses.clear()
        elif self._poses:
            x, y, _ = self._mean()
            if math.hypot(pose[0] - x, pose[1] - y) > self._jump_px:
                self._poses.clear()
        self._poses.append(pose)
        return View(agent, self._mean(), len(self._poses))

    def _mean(self) -> Pose:
        n = len(self._poses)
        c, s = (sum(f(pose[2]) for pose in self._poses) for f in (math.cos, math.sin))
        return sum(p[0] for p in self._poses) / n, sum(p[1] for p in self._poses) / n, math.atan2(s, c)


def make(params: Params) -> Average:
    """The module with its knobs set."""
    return Average(int(params.get("average_frames", 20)), params.get("jump_px", 6.0))
