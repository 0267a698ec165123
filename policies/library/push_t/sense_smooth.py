"""Low-pass the pose sensor at all times, moving or not."""

from __future__ import annotations

import math

from policies.library.push_t.kit import Params, Point, Pose, View


class Smooth:
    """Exponential filter: each observation counts `share`, the past the rest."""

    def __init__(self, share: float) -> None:
        self._share = share
        self._state: tuple[float, float, float, float] | None = None

    def reset(self) -> None:
        self._state = None

    def look(self, agent: Point, pose: Pose, *, touching: bool) -> View:
        new = (pose[0], pose[1], math.cos(pose[2]), math.sin(pose[2]))
        if self._state is None:
            self._state = new
        old, w = self._state, self._share
        x, y, c, s = (a + w * (b - a) for a, b in zip(old, new, strict=True))
        self._state = (x, y, c, s)
        return View(agent, (x, y, math.atan2(s, c)))


def make(params: Params) -> Smooth:
    """The module with its knobs set."""
    return Smooth(params.get("smooth_share", 0.15))
