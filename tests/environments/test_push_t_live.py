"""The live check of Push-T: how many frames it averages, and what it takes for held."""

from __future__ import annotations

import math

import numpy as np
import pytest

from environments.push_t import spec
from environments.push_t.live import LiveCheck
from nightlab.geometry import GOAL_POSE, coverage

RNG = np.random.default_rng(1)


def noisy(pose: tuple[float, float, float], px: float, rad: float) -> list[float]:
    return (np.array(pose) + RNG.normal(size=3) * (px, px, rad)).tolist()


def frames_until_held(pose: tuple[float, float, float], px: float = 0.0, rad: float = 0.0, most: int = 300) -> int:
    check = LiveCheck()
    for count in range(1, most + 1):
        check.add(noisy(pose, px, rad))
        if check.held:
            return count
    return most + 1


def shifted(to: float) -> tuple[float, float, float]:
    """A pose beside the goal with this coverage."""
    x = GOAL_POSE[0]
    while coverage((x, *GOAL_POSE[1:])) > to:
        x += 0.01
    return (x, *GOAL_POSE[1:])


def test_a_sensor_without_noise_needs_as_many_frames_as_the_verifier() -> None:
    assert frames_until_held(GOAL_POSE) == spec.HELD_FRAMES


def test_a_noisy_sensor_needs_more_frames() -> None:
    counts = [frames_until_held(GOAL_POSE, 1.5, 0.015) for _ in range(20)]
    assert 15 <= np.median(counts) <= 60


def test_luck_hardly_ever_holds_a_pose_that_fails() -> None:
    held = sum(frames_until_held(shifted(0.94), 1.5, 0.015, most=40) <= 40 for _ in range(100))
    naive = 0
    for _ in range(100):
        poses = np.array([noisy(shifted(0.94), 1.5, 0.015) for _ in range(40)])
        means = [coverage(poses[i - 5 : i].mean(axis=0).tolist()) >= spec.LIVE_COVERAGE for i in range(5, 41)]
        naive += any(all(means[i : i + 5]) for i in range(len(means) - 4))
    assert held < naive / 3, (held, naive)


def test_a_moving_block_is_not_at_rest() -> None:
    check = LiveCheck()
    for step in range(40):  # over the goal at 3 px a frame
        check.add((GOAL_POSE[0] - 60 + 3 * step, *GOAL_POSE[1:]))
        assert not check.held


def test_after_a_motion_only_the_poses_at_rest_count() -> None:
    check = LiveCheck()
    for step in range(30):
        check.add((GOAL_POSE[0] - 30 + step, *GOAL_POSE[1:]))
    for _ in range(20):
        check.add(GOAL_POSE)
    assert check.held
    assert check.believed == pytest.approx(1.0)


def test_angles_are_averaged_across_the_cut() -> None:
    check = LiveCheck()
    for step in range(20):
        check.add((100.0, 100.0, math.pi - 0.001 if step % 2 else 0.001 - math.pi))
    assert check.believed == pytest.approx(coverage((100.0, 100.0, math.pi)), abs=1e-3)
