"""What the simulator's ground truth says about Push-T: for the verifier workbench only, never for a policy or a reset.

Every environment of the workbench has this module: `label` says by the truth what the verdict ought to be,
`start_distance` how far a reset missed (with START_TOLERANCE).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from environments.push_t.spec import SUCCESS_COVERAGE, START_TOLERANCE_px
from environments.push_t.start import START_KEYS
from nightlab.geometry import (
    GOAL_POSE,
    agent_overlaps_t,
    coverage,
    keypoint_error,
    t_outline,
    t_touches_wall,
)

START_TOLERANCE = START_TOLERANCE_px
"""Largest `start_distance` of a reset that counts as done, px."""
RESET_BY_TELEPORT = True
"""A reset in simulation is lent the SimulatorAdmin's teleport (never its truth)."""


def state_of_coverage(target: float, rng: np.random.Generator) -> dict[str, float]:
    """A terminal state whose coverage is `target`; 0 stands for anywhere on the table."""
    while True:
        pose = _pose_of_coverage(target, rng.normal(0, 1, 3) * (4.0, 4.0, 0.06)) if target > 0 else _anywhere(rng)
        for _ in range(20):
            agent = _agent(rng, pose)
            if not agent_overlaps_t(agent, pose, 1.0) and not t_touches_wall(pose, 1.0):
                return dict(zip(START_KEYS, (*agent, *pose), strict=True))


def label(truths: Sequence[Mapping[str, float]]) -> tuple[bool, float]:
    """(success, value) of an episode by the truth at each held frame; the value is the smallest coverage."""
    value = min(float(truth["coverage"]) for truth in truths)
    return value >= SUCCESS_COVERAGE, value


def start_distance(asked: Mapping[str, float], truth: Mapping[str, float]) -> float:
    """Distance of the true state from an asked start, px: the larger of disc's and T's (mean over its corners)."""
    a, b = ([start[key] for key in START_KEYS] for start in (asked, truth))
    return max(math.hypot(a[0] - b[0], a[1] - b[1]), keypoint_error(a[2:], b[2:]))


def _pose_of_coverage(target: float, direction: NDArray[np.float64]) -> tuple[float, float, float]:
    """The pose along `direction` (px, px, rad) from the goal whose coverage is `target`, by bisection."""
    low, high = 0.0, 40.0
    for _ in range(50):
        middle = (low + high) / 2
        good = coverage((np.array(GOAL_POSE) + middle * direction).tolist()) > target
        low, high = (middle, high) if good else (low, middle)
    x, y, angle = (np.array(GOAL_POSE) + low * direction).tolist()
    return x, y, math.remainder(angle, 2 * math.pi)


def _anywhere(rng: np.random.Generator) -> tuple[float, float, float]:
    x, y = rng.uniform(100, 400, 2).tolist()
    return x, y, float(rng.uniform(-math.pi, math.pi))


def _agent(rng: np.random.Generator, pose: Sequence[float]) -> tuple[float, float]:
    """The disc beside the T, as a policy leaves it, or anywhere (one in three)."""
    if rng.uniform() < 1 / 3:
        x, y = rng.uniform(30, 480, 2).tolist()
        return x, y
    corners = t_outline(pose)
    first = int(rng.integers(len(corners)))
    spot = corners[first] + (corners[(first + 1) % len(corners)] - corners[first]) * rng.uniform()
    x, y = np.clip(spot + rng.normal(0, 20, 2), 20, 490).tolist()
    return x, y
