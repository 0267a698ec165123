"""The bench's physics: grip, contact, insertion, sensors, and what may not depend on what."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from nightlab import pin_box
from nightlab.errors import NightlabError
from robots.profiles import YamBenchProfile, load_profile
from robots.worlds import make_world
from robots.worlds.yam_bench import START, YamBenchWorld

Action = dict[str, NDArray[np.float64]]
ABOVE = {"hole": 1.0, "tip_x_m": 0.0, "tip_y_m": 0.0, "tip_z_m": 0.030, "yaw_rad": 0.0}


def profile(name: str = "nominal", **fields: float) -> YamBenchProfile:
    loaded = load_profile(name, "yam_bench")
    assert isinstance(loaded, YamBenchProfile)
    return YamBenchProfile.model_validate({**loaded.model_dump(), **fields})


def bench(name: str = "nominal", seed: int = 1, **fields: float) -> YamBenchWorld:
    return YamBenchWorld(profile(name, **fields), seed)


EXACT = {
    "grasp_tilt_rad": 0,
    "grasp_slip_m": 0,
    "tcp_noise_m": 0,
    "tcp_noise_rad": 0,
    "force_noise_N": 0,
    "torque_noise_Nm": 0,
}


def lower(world: YamBenchWorld, by_m: float, steps: int, speed_m: float = 0.002) -> Action:
    """Move the right target down, straight, and stay."""
    action = world.hold_action()
    end_m = action["right_pose"][2] - by_m
    for _ in range(steps):
        action["right_pose"][2] = max(end_m, action["right_pose"][2] - speed_m)
        world.step({key: value.copy() for key, value in action.items()})
    return action


def test_start_is_reached_and_given_back_by_truth() -> None:
    world, rng = bench("real"), np.random.default_rng(4)
    for seed in range(6):
        start = {
            "hole": float(seed % 4),
            "tip_x_m": rng.uniform(-0.03, 0.03),
            "tip_y_m": rng.uniform(-0.03, 0.03),
            "tip_z_m": rng.uniform(0.03, 0.06),
            "yaw_rad": rng.uniform(-0.3, 0.3),
        }
        world.teleport(start, seed)
        truth = world.truth()
        assert truth["held"] == 1.0
        assert truth["depth_m"] == 0.0
        for key, value in start.items():
            assert truth[key] == pytest.approx(value, abs=3e-4), key


@pytest.mark.parametrize(
    "start", [{}, {**START, "depth_m": 1.0}, {**START, "yaw_rad": math.nan}, {**START, "hole": 7.0}]
)
def test_bad_starts_say_what_is_needed(start: dict[str, float]) -> None:
    with pytest.raises(NightlabError, match=r"hole, tip_x_m|holes 0 to 3"):
        bench().teleport(start, 0)


def test_out_of_reach_says_so() -> None:
    with pytest.raises(NightlabError, match=r"right arm cannot reach"):
        bench().teleport({**START, "tip_y_m": 0.6}, 0)


def test_observation_fits_the_spec_and_tells_no_truth() -> None:
    world = bench("real")
    spec = world.spec("robot-1", 8.0)
    seen = world.observe()
    assert set(seen) == {channel.key for channel in spec.observations}
    assert not set(seen) & (set(world.truth()) - {"hole"}), "no key of the truth"
    assert spec.rate_hz == 20.0
    assert set(world.hold_action()) == {channel.key for channel in spec.actions}
    for channel in spec.observations:
        assert seen[channel.key].shape == channel.shape, channel.key
        assert np.all(seen[channel.key] >= channel.low), channel.key
        assert np.all(seen[channel.key] <= channel.high), channel.key


def test_hole_estimate_is_noisy_by_the_profile_and_fixed_within_an_episode() -> None:
    world, errors = bench(hole_noise_m=0.0005), []
    for seed in range(150):
        world.teleport({"hole": 2.0}, seed)
        errors.append(world.observe()["hole_estimate"] - [world.truth()[f"mouth_2_{axis}_m"] for axis in "xyz"])
    first = world.observe()["hole_estimate"]
    lower(world, 0.0, 3)
    assert world.observe()["hole_estimate"].tolist() == first.tolist()
    assert np.std(errors, axis=0)[:2] == pytest.approx([0.0005, 0.0005], rel=0.2)
    assert np.abs(np.mean(errors, axis=0)).max() < 0.00015


def test_announcing_an_episode_moves_nothing() -> None:
    world = bench("real")
    world.teleport(ABOVE, 3)
    before, action = world.truth(), world.hold_action()
    world.teleport({"hole": 3.0}, 4)
    after = world.truth()
    for axis in "xyz":
        assert after[f"pin_{axis}_m"] == before[f"pin_{axis}_m"]
    assert world.observe()["target_hole"].tolist() == [3.0]
    assert world.hold_action()["right_pose"].tolist() == action["right_pose"].tolist()
    assert after["grip_force_N"] != before["grip_force_N"], "an episode has its own traits"


def test_friction_holds_the_pin_for_ten_seconds_and_under_load() -> None:
    world = bench(**EXACT)
    world.teleport({**ABOVE, "tip_x_m": 0.020, "tip_y_m": 0.020}, 0)
    before = world.truth()
    lower(world, 0.0, 200)
    after = world.truth()
    assert abs(after["tip_z_m"] - before["tip_z_m"]) < 0.0002
    assert math.hypot(after["pin_rx_rad"], after["pin_ry_rad"]) < 0.005
    lower(world, 0.030 + 0.010, 120)
    pushed = world.observe()
    slip_m = world.truth()["pin_z_m"] + pin_box.GRASP_TO_TIP_m - pushed["right_tcp"][2]
    assert pushed["right_wrench"][2] == pytest.approx(10.0, abs=1.0), "10 mm of 1000 N/m"
    assert abs(slip_m) < 0.0004


def test_pin_goes_in_where_the_hole_is_and_nowhere_else() -> None:
    world = bench(**EXACT)
    world.teleport(ABOVE, 0)
    lower(world, 0.050, 60)
    truth = world.truth()
    assert truth["depth_m"] == pytest.approx(0.020, abs=0.001)
    assert truth["depth_0_m"] == 0.0
    assert truth["peak_force_N"] < 10.0
    world.teleport({**ABOVE, "tip_x_m": 0.0012}, 0)
    lower(world, 0.036, 60)
    missed = world.truth()
    assert missed["depth_m"] < 0.001, "the blunt end stands on the rim"
    assert missed["touches_plate"] == 1.0


def test_hole_has_a_floor() -> None:
    world = bench(**EXACT)
    world.teleport(ABOVE, 0)
    lower(world, 0.062, 80)
    assert world.truth()["depth_m"] == pytest.approx(pin_box.HOLE_DEPTH_m, abs=0.0006)


def test_a_soft_arm_presses_less() -> None:
    felt = []
    for stiffness in (300.0, 1500.0):
        world = bench(**EXACT)
        world.teleport({**ABOVE, "tip_x_m": 0.020, "tip_y_m": 0.020}, 0)
        action = world.hold_action()
        action["right_stiffness"] = np.array([stiffness, 30.0])
        for _ in range(60):
            action["right_pose"][2] = max(action["right_pose"][2] - 0.001, 0.040 + pin_box.GRASP_TO_TIP_m - 0.005)
            world.step({key: value.copy() for key, value in action.items()})
        felt.append(float(world.observe()["right_wrench"][2]))
    assert felt == pytest.approx([1.5, 7.5], abs=0.8)


def test_too_much_force_stops_the_arm_for_half_a_second() -> None:
    world = bench()
    world.teleport({**ABOVE, "tip_x_m": 0.020, "tip_y_m": 0.020}, 0)
    action = world.hold_action()
    action["right_stiffness"] = np.array([2000.0, 60.0])
    stopped = 0
    for _ in range(30):
        action["right_pose"][2] = max(0.02, action["right_pose"][2] - 0.008)
        world.step({key: value.copy() for key, value in action.items()})
        stopped += int(world.truth()["stopped"])
    assert stopped >= 5
    assert world.truth()["peak_force_N"] > 60.0


def test_peak_force_is_of_the_last_period_only() -> None:
    world = bench(**EXACT)
    world.teleport({**ABOVE, "tip_x_m": 0.020, "tip_y_m": 0.020}, 0)
    action = lower(world, 0.040, 60)
    assert world.observe()["peak_force"][1] > 5.0
    for _ in range(40):
        action["right_pose"][2] += 0.002
        world.step({key: value.copy() for key, value in action.items()})
    lower(world, 0.0, 10)
    assert world.observe()["peak_force"][1] < 1.0


def run(world: YamBenchWorld, seed: int, *, look: bool = False) -> list[float]:
    world.teleport({**ABOVE, "tip_x_m": 0.003}, seed)
    rows: list[float] = []
    action = world.hold_action()
    for step in range(25):
        action["right_pose"] = action["right_pose"] + [0.0, 0.0, -0.0015, 0.0, 0.0, 0.0]
        world.step({key: value.copy() for key, value in action.items()})
        if look and step % 5 == 0:
            world.render("side", 64)
            world.render("top")
            world.truth()
        seen = world.observe()
        rows += [*seen["right_tcp"], *seen["right_wrench"], *seen["pin_estimate"]]
    return rows


def test_station_and_episode_make_a_run_and_looking_changes_nothing() -> None:
    real = profile("real")
    first = run(YamBenchWorld(real, 1), 7)
    assert run(YamBenchWorld(real, 1), 7, look=True) == first, "same station, same episode, pictures or not"
    assert run(YamBenchWorld(real, 1), 8) != first
    assert run(YamBenchWorld(real, 2), 7) != first


def test_latency_delays_the_arm() -> None:
    moved = []
    for latency_s in (0.0, 0.1):
        world = bench(**EXACT, action_latency_s=latency_s)
        world.teleport({**ABOVE, "tip_z_m": 0.06}, 0)
        z_m = world.truth()["pin_z_m"]
        lower(world, 0.02, 3, speed_m=0.006)
        moved.append(z_m - world.truth()["pin_z_m"])
    assert moved[0] > 0.008
    assert moved[1] < 0.004


def test_further_pins_stand_in_the_rack() -> None:
    world = bench(pins=4)
    lower(world, 0.0, 20)
    truth = world.truth()
    for number in (1, 2, 3):
        assert truth[f"pin_{number}_x_m"] == pytest.approx(pin_box.RACK_XY_m[0], abs=0.001)
        assert truth[f"pin_{number}_z_m"] == pytest.approx(pin_box.PLATE_TOP_m - 0.020, abs=0.001)


def test_world_and_profile_must_fit() -> None:
    with pytest.raises(NightlabError, match=r"world 'yam_bench' got a PushTProfile"):
        make_world("yam_bench", load_profile("nominal"), 0)


def test_plate_lies_where_the_station_has_it() -> None:
    one, two = bench("real", 1).truth(), bench("real", 2).truth()
    assert one["mouth_0_x_m"] != two["mouth_0_x_m"]
    assert abs(one["mouth_0_x_m"] - pin_box.hole_mouths()[0][0]) < 0.013
