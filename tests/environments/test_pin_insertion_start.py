"""Starts of pin insertion: the sampled distribution, distances, holes; and the frame in which a policy may act."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from environments.pin_insertion import spec
from environments.pin_insertion.limits import LIMITS, POLICY_REACH_m, narrowed, policy_box
from environments.pin_insertion.sense import insertion
from environments.pin_insertion.start import (
    RANGES,
    START_KEYS,
    asked_cdf,
    hole_offset,
    sample_start,
    start_distance,
)
from nightlab.pin_box import HOLE_PITCH_m, hole_mouths
from nightlab.records import ResetReport
from robots.worlds import yam_bench, yam_bench_spec


def test_starts_fill_their_ranges_evenly_and_never_change() -> None:
    starts = [sample_start(seed) for seed in range(2000)]
    assert all(tuple(start) == START_KEYS for start in starts)
    for key, (low, high) in RANGES.items():
        values = sorted(start[key] for start in starts)
        assert low <= values[0]
        assert values[-1] <= high
        worst = max(abs(asked_cdf(key, value) - (rank + 0.5) / 2000) for rank, value in enumerate(values))
        assert worst < 0.035, f"{key}: Kolmogorov-Smirnov D {worst:.3f} against uniform"
    holes = [start["hole"] for start in starts]
    assert all(440 < holes.count(hole) < 560 for hole in range(spec.HOLES))
    assert sample_start(7) == sample_start(7)
    assert sample_start(0)["hole"] == 3.0
    assert math.isclose(sample_start(0)["tip_x_m"], 0.01547726, abs_tol=1e-8)


def test_a_start_is_what_the_world_takes() -> None:
    assert START_KEYS == yam_bench.START_KEYS


def test_distance_counts_tip_yaw_and_hole() -> None:
    start = sample_start(1)
    assert start_distance(start, start) == 0.0
    assert math.isclose(start_distance(start, start | {"tip_x_m": start["tip_x_m"] + 0.002}), 0.002)
    assert math.isclose(start_distance(start, start | {"yaw_rad": start["yaw_rad"] + 0.1}), 0.005)
    for other in {0.0, 1.0, 2.0, 3.0} - {start["hole"]}:
        missed_m = start_distance(start, start | {"hole": other})
        assert missed_m >= HOLE_PITCH_m > 9 * spec.START_TOLERANCE_m, "another hole is another start"
        told = ResetReport(success=False, attempts=3, duration_s=1.0, asked=start, achieved={}, distance=missed_m)
        assert json.loads(told.model_dump_json())["distance"] == missed_m, "an infinity would be null in JSON"


def test_holes_lie_where_the_drawing_has_them() -> None:
    middle = np.mean(hole_mouths(), axis=0)
    for hole, mouth in enumerate(hole_mouths()):
        assert np.allclose(mouth[:2] - middle[:2], hole_offset(hole))


def _values(tip: tuple[float, float, float], hole: int) -> dict[str, np.ndarray]:
    mouth = np.array(hole_mouths()[hole])
    return {
        "pin_estimate": np.array([*tip, 0.0, 0.0, 0.3]),
        "hole_estimate": mouth,
        "target_hole": np.array([float(hole)]),
    }


def test_insertion_names_the_hole_that_the_tip_is_in() -> None:
    x, y, z = hole_mouths()[2]
    found = insertion(_values((x + 0.001, y, z - 0.010), 2))
    assert (found.hole, found.in_target, found.in_hole) == (2, True, True)
    assert math.isclose(found.depth_m, 0.010, abs_tol=1e-9)
    other = insertion(_values((x + 0.001, y, z - 0.010), 1))
    assert (other.hole, other.in_target, other.in_hole) == (2, False, True)
    above = insertion(_values((x, y, z + 0.010), 2))
    assert not above.in_hole
    beside = insertion(_values((x + 0.010, y, z - 0.001), 2))
    assert not beside.in_target


def test_a_policy_moves_the_right_arm_within_its_box_and_nothing_else() -> None:
    kept = {key: np.full(len(low), 0.5) for key, low in LIMITS.action_low.items()}
    box = policy_box(np.array([0.0, 0.05, 0.13, 0.0, 0.0, 0.0]))
    greedy = {key: np.full(len(low), 0.9) for key, low in LIMITS.action_low.items()}
    out, cut = narrowed(greedy, kept, box)
    assert cut
    assert out["right_pose"][0] == POLICY_REACH_m
    for key in ("left_pose", "left_width", "left_stiffness", "right_width"):
        assert out[key] is kept[key], f"{key} is the environment's"
    assert np.array_equal(out["right_stiffness"], greedy["right_stiffness"])
    nan, cut = narrowed({**greedy, "right_pose": np.full(6, np.nan)}, kept, box)
    assert not cut
    assert np.isnan(nan["right_pose"]).all(), "the station's safety filter has to refuse it"


def test_limits_leave_the_station_room() -> None:
    for key, (low, high) in {
        channel.key: (channel.low, channel.high) for channel in yam_bench_spec.bench_spec("robot-1", 1.0, "x").actions
    }.items():
        assert all(a <= b for a, b in zip(LIMITS.action_low[key], high, strict=True)), key
        assert all(a >= b for a, b in zip(LIMITS.action_high[key], low, strict=True)), key


@pytest.mark.parametrize("hole", range(spec.HOLES))
def test_every_hole_is_reached_within_the_policys_box_from_every_start(hole: int) -> None:
    corner = np.array([0.03, -0.03, 0.06, 0.0, 0.0, 0.0])
    low, high = policy_box(corner)
    down = np.array([0.0, 0.0, -0.02])
    assert np.all(low[:3] <= down)
    assert np.all(high[:3] >= down)
