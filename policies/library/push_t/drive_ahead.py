"""Run along a timed path and ask the lagging actuator today for what it should do in a moment: feed-forward."""

from __future__ import annotations

import numpy as np

from policies.library.push_t.kit import Array, Params, Point, Push, View, distance

_SMOOTH_STEPS = 4
"""Box filter over the timed path: keeps the acceleration finite at corners."""


class Ahead:
    """Inverts x'' = k_p (u − x) − k_v x'.

    In control periods, with L = k_v / k_p: u = x + L x' + (L / 2) x'' for the k_v of 20 / s and the rate of 10 Hz that
    the station has. `lag_steps` is L; the path is run at `speed_px` per period.
    """

    def __init__(self, lag_steps: float, speed_px: float, arrive_px: float, end_px: float) -> None:
        self._lag_steps = lag_steps
        self._speed_px = speed_px
        self._arrive_px = arrive_px
        self._end_px = end_px
        self._path: list[Point] = []
        self._targets: list[Point] = []
        self._pushed = 0.0

    def begin(self, path: list[Point]) -> None:
        self._path = list(path)
        self._targets = []
        self._started = False
        self._pushed = 0.0

    def follow(self, view: View, last: Point) -> tuple[Point, bool]:
        if not self._started:
            self._started = True
            self._targets = self._plan([view.agent, *self._path])
        goal = self._path[-1]
        if self._targets:
            return self._targets.pop(0), False
        return goal, distance(view.agent, goal) < self._arrive_px

    def _plan(self, path: list[Point]) -> list[Point]:
        points = np.array(path)
        lengths = np.hypot(*np.diff(points, axis=0).T)
        reach = np.concatenate(([0.0], np.cumsum(lengths)))
        count = max(1, round(float(reach[-1]) / self._speed_px))
        way = np.concatenate(
            (np.zeros(_SMOOTH_STEPS), np.linspace(0, reach[-1], count + 1), [reach[-1]] * _SMOOTH_STEPS)
        )
        xy = np.stack([np.interp(way, reach, points[:, axis]) for axis in (0, 1)], axis=1)
        box = np.ones(_SMOOTH_STEPS) / _SMOOTH_STEPS
        smooth: Array = np.stack([np.convolve(xy[:, axis], box, "valid") for axis in (0, 1)], axis=1)
        speed = np.gradient(smooth, axis=0)
        force = np.gradient(speed, axis=0)
        wish = smooth + self._lag_steps * speed + 0.5 * self._lag_steps * force
        return [(float(x), float(y)) for x, y in wish[1:]]

    def push(self, view: View, push: Push, last: Point, step_px: float) -> tuple[Point, bool]:
        length = max(distance(push.start, push.end), 1e-6)
        ux, uy = (push.end[0] - push.start[0]) / length, (push.end[1] - push.start[1]) / length
        self._pushed = min(self._pushed + step_px, length)
        done = min(self._pushed + self._lag_steps * step_px, length)
        target = push.start[0] + ux * done, push.start[1] + uy * done
        return target, self._pushed >= length and distance(view.agent, push.end) < self._end_px


def make(params: Params) -> Ahead:
    """The module with its knobs set."""
    return Ahead(
        params.get("lag_steps", 3.5),
        params.get("speed_px", 18.0),
        params.get("arrive_px", 6.0),
        params.get("end_px", 1.5),
    )
