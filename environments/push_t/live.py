"""The live check of Push-T: is the T on its goal and at rest, by the pose sensor alone, however noisy that is?

The sensor's noise is estimated from the differences of successive poses, and as many poses are averaged as bring the
standard error of the T's corners down to `LIVE_ERROR_px`: 5 on a sensor without noise, up to 30 on a bad one. Only
poses that agree with one another are averaged, so that a T that moves is never taken for one at rest.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from environments.push_t import spec
from nightlab.geometry import coverage

_LEVER_px = 60.0
"""Root mean square distance of the T's corners from their mean: turns rad into px."""


class LiveCheck:
    """Feed it one pose per control period. `believed` is the coverage of the averaged pose; `held` ends the episode."""

    def __init__(self) -> None:
        self._poses: deque[tuple[float, float, float]] = deque(maxlen=spec.LIVE_MAX_FRAMES)
        self.believed = 0.0
        self.good_frames = 0

    @property
    def held(self) -> bool:
        """Coverage of at least 0.955 in 5 frames in a row, from enough poses each time."""
        return self.good_frames >= spec.HELD_FRAMES

    def add(self, pose: Sequence[float]) -> None:
        """Take in a pose (x px, y px, angle rad)."""
        self._poses.append((float(pose[0]), float(pose[1]), float(pose[2])))
        points = _points(self._poses)
        needed = _needed(points)
        points = _at_rest(points[-max(needed, spec.HELD_FRAMES) :])
        mean = points.mean(axis=0)
        self.believed = coverage((mean[0], mean[1], math.atan2(mean[3], mean[2])))
        enough = len(points) >= needed
        error_px = math.sqrt(_variance(points) / len(points)) if len(points) > 1 else 0.0
        good = self.believed >= spec.LIVE_COVERAGE + spec.LIVE_MARGIN_per_px * error_px
        self.good_frames = self.good_frames + 1 if enough and good else 0


def _points(poses: deque[tuple[float, float, float]]) -> NDArray[np.float64]:
    """[k, 4] x, y in px and the angle as 60 px · (cos, sin), so that all four are lengths."""
    raw = np.array(poses)
    return np.column_stack((raw[:, :2], _LEVER_px * np.cos(raw[:, 2]), _LEVER_px * np.sin(raw[:, 2])))


def _needed(points: NDArray[np.float64]) -> int:
    """How many poses bring the standard error of a corner below LIVE_ERROR_px."""
    if len(points) < 2:
        return 1
    variance = _variance(points[-11:])
    return min(max(1, math.ceil(variance / spec.LIVE_ERROR_px**2)), spec.LIVE_MAX_FRAMES)


def _variance(points: NDArray[np.float64]) -> float:
    """Variance of a pose in px², from the differences of successive ones: a slow motion does not count as noise."""
    steps = (np.diff(points, axis=0) ** 2).sum(axis=1)
    return float(np.median(steps)) / 2


def _at_rest(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """The latest poses that agree: the older half is dropped while its mean differs by more than the noise explains."""
    while len(points) >= 2 * spec.HELD_FRAMES:
        half = len(points) // 2
        old, new = points[:half], points[half:]
        noise = float((np.diff(points, axis=0) ** 2).sum(axis=1).mean()) / 2
        apart = float(((old.mean(axis=0) - new.mean(axis=0)) ** 2).sum())
        if apart <= 9.0 * noise * (1 / len(old) + 1 / len(new)) + 0.01:
            break
        points = new
    return points
