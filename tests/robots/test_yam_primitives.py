"""Primitives of the bench: poses, home, grip, release, force."""

from __future__ import annotations

import numpy as np
import pytest

from nightlab.errors import StationError
from robots.driver import Primitive
from robots.drivers.simulated import SimulatedDriver
from robots.profiles import load_profile
from robots.worlds import make_world
from robots.worlds.yam_bench_spec import HOME_POSE, MAX_STEP


def driver(profile: str = "real") -> SimulatedDriver:
    return SimulatedDriver(
        lambda name, seed: make_world("yam_bench", load_profile(name, "yam_bench"), seed), "robot-1", profile, 2, 0.0
    )


def carry_out(station: SimulatedDriver, request: Primitive) -> int:
    steps, before = 0, station.hold_action()
    for action in station.primitive(request):
        for arm in ("left", "right"):
            moved = np.abs(action[f"{arm}_pose"] - before[f"{arm}_pose"])
            assert np.all(moved <= np.array(MAX_STEP) + 1e-9), "never faster than the station allows"
        station.step(action)
        before, steps = action, steps + 1
        assert steps < 600
    return steps


def test_home_lifts_and_brings_both_arms_aside() -> None:
    station = driver()
    carry_out(station, Primitive("home"))
    seen = station.observe()
    for arm, pose in HOME_POSE.items():
        assert np.linalg.norm(seen[f"{arm}_tcp"][:3] - pose[:3]) < 0.005, arm
    assert seen["right_gripper"][1] > 10, "it keeps what it holds"


def test_move_to_pose_gets_there_by_the_encoders() -> None:
    station = driver()
    goal = (0.10, -0.05, 0.20, 0.0, 0.0, 0.4)
    carry_out(station, Primitive("move_to_pose", arm="right", pose=goal))
    seen = station.observe()["right_tcp"]
    assert np.linalg.norm(seen[:3] - goal[:3]) < 0.003
    assert abs(seen[5] - 0.4) < 0.05


def test_release_drops_the_pin_and_grasp_then_finds_nothing() -> None:
    station = driver()
    assert station.truth()["held"] == 1.0
    carry_out(station, Primitive("release", arm="right"))
    assert station.truth()["held"] == 0.0
    assert station.observe()["right_gripper"][0] > 0.05
    with pytest.raises(StationError, match="right gripper closed on nothing"):
        carry_out(station, Primitive("grasp", arm="right", width_m=0.0, force_N=10.0))


def test_grasp_squeezes_as_asked() -> None:
    station = driver("nominal")
    carry_out(station, Primitive("grasp", arm="right", width_m=0.0118, force_N=8.0))
    assert station.observe()["right_gripper"][1] == pytest.approx(8.0, abs=3.0)
    assert station.truth()["held"] == 1.0


def test_apply_force_presses_with_it() -> None:
    station = driver("nominal")
    station.teleport({"hole": 0.0, "tip_x_m": 0.02, "tip_y_m": 0.02, "tip_z_m": 0.03, "yaw_rad": 0.0}, 1)
    here = station.observe()["right_tcp"]
    down = (*here[:2], here[2] - 0.031, *here[3:])
    carry_out(station, Primitive("move_to_pose", arm="right", pose=tuple(down)))
    felt = []
    for action in station.primitive(
        Primitive("apply_force", arm="right", wrench=(0, 0, -8.0, 0, 0, 0), duration_s=1.0)
    ):
        station.step(action)
        felt.append(float(station.observe()["right_wrench"][2]))
    assert max(felt) == pytest.approx(8.0, abs=2.0)


@pytest.mark.parametrize(
    ("request_", "why"),
    [
        (Primitive("move_to_pose", arm="middle", pose=(0.0,) * 6), "there are: left, right"),
        (Primitive("move_to_pose", arm="right", pose=(0.1, 0.1)), "takes x, y, z in m"),
        (Primitive("move_to_pose", arm="right", pose=(5.0, 0, 0.1, 0, 0, 0)), "takes x, y, z in m"),
        (Primitive("grasp", arm="left", width_m=-1.0, force_N=5.0), "width_m -1"),
        (Primitive("apply_force", arm="left", wrench=(1.0,), duration_s=1.0), "needs 6 finite numbers"),
    ],
)
def test_bad_requests_say_what_is_right(request_: Primitive, why: str) -> None:
    station = driver()
    with pytest.raises(StationError, match=why):
        carry_out(station, request_)
