"""The arm-based reset on the bench, in process: from hand, from a hole, after a handover, and what it reports."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable

import numpy as np
import pytest

from environments.pin_insertion import spec
from environments.pin_insertion.environment import PinInsertion
from environments.pin_insertion.heading import lying_heading
from environments.pin_insertion.recover import LEFT_PARKED
from environments.pin_insertion.sense import lean_rad
from environments.pin_insertion.start import sample_start
from nightlab.contracts import Lease
from nightlab.errors import StationError
from nightlab.pin_box import GRASP_TO_TIP_m
from nightlab.skills.handover import SIDEWAYS, hand_over
from nightlab.skills.motion import Hands, glide, move, pause
from nightlab.skills.pin import look, pin_of, raised
from nightlab.skills.rotation import compose
from nightlab.skills.run import perform
from nightlab.testing.fake_station import FakeStation
from robots.profiles import Spread, load_profile
from robots.worlds import make_world

Body = Callable[[PinInsertion, FakeStation, Lease], Awaitable[None]]


def on_the_bench(body: Body, **changes: object) -> None:
    async def main() -> None:
        profile = load_profile("nominal", "yam_bench").model_copy(update=changes)
        station = FakeStation(make_world("yam_bench", profile, 4))
        environment = PinInsertion()
        await body(environment, station, await station.lease("test", environment.limits))

    asyncio.run(main())


def test_a_pin_that_stands_in_a_hole_is_extracted_and_brought_to_the_start() -> None:
    async def body(environment: PinInsertion, station: FakeStation, lease: Lease) -> None:
        await _stand(station, hole=2)
        report = await environment.reset(station, lease, 11, admin=station)
        assert report.success, report.reason
        assert report.counts["extractions"] == report.counts["regrasps"] == 1
        assert not report.simulator_shortcut
        assert report.frames == ("before top", "before side", "after top", "after side")
        assert all(jpeg.startswith(b"\xff\xd8") for jpeg in environment.reset_jpeg)
        assert len(environment.reset_jpeg) == 4
        truth, asked = await station.truth(), sample_start(11)
        assert truth["held"] == 1.0
        assert truth["hole"] == asked["hole"]
        off = [truth[key] - asked[key] for key in ("tip_x_m", "tip_y_m", "tip_z_m")]
        assert np.linalg.norm(off) < spec.START_TOLERANCE_m, off

    on_the_bench(body)


def test_further_pins_stay_in_their_rack_and_are_not_taken_for_the_one_in_the_hole() -> None:
    async def body(environment: PinInsertion, station: FakeStation, lease: Lease) -> None:
        await _stand(station, hole=1)
        before = await station.truth()
        for seed in (11, 12):
            report = await environment.reset(station, lease, seed, admin=station)
            assert report.success, report.reason
            assert report.attempts == 1, "nothing in the rack was mistaken for the pin"
        truth = await station.truth()
        assert truth["held"] == 1.0
        racked = [f"pin_{number}_{axis}_m" for number in (1, 2, 3) for axis in "xyz"]
        off = [truth[key] - before[key] for key in racked]
        assert np.max(np.abs(off)) < 0.001, dict(zip(racked, off, strict=True))

    on_the_bench(body, pins=4)


def test_a_lost_pin_ends_in_three_attempts_and_says_where_to_look() -> None:
    async def body(environment: PinInsertion, station: FakeStation, lease: Lease) -> None:
        await _stand(station, away=True)
        report = await environment.reset(station, lease, 12, admin=station)
        assert not report.success
        assert report.attempts == spec.RESET_ATTEMPTS
        assert report.reason
        with pytest.raises(StationError, match="step before reset; call reset"):
            async with station.control(lease, "x") as session:
                await environment.step(session, station.world.hold_action())

    on_the_bench(body)


def test_a_handover_sets_the_pin_straight() -> None:
    async def body(environment: PinInsertion, station: FakeStation, lease: Lease) -> None:
        async with station.control(lease, "test") as session:
            seen = await session.hold()
            hands = Hands.of(seen.values, seen.executed)
            await perform(session, hand_over(hands, (0.02, 0.03, 0.168)), hands)
            await perform(session, look(hands), hands)
            pin = pin_of(hands.seen)
        truth = await station.truth()
        assert truth["held"] == 1.0
        assert np.hypot(pin[3], pin[4]) < 0.02
        assert abs(truth["pin_z_m"] - 0.168) < 0.004

    on_the_bench(body)


@pytest.mark.parametrize("sign", [-1, 1])
def test_a_pin_that_leans_far_in_the_jaws_is_set_upright_by_a_hand_that_leans_with_it(sign: int) -> None:
    async def body(environment: PinInsertion, station: FakeStation, lease: Lease) -> None:
        lean_rad, seed = 0.0, 0
        while not 0.6 < sign * lean_rad < 0.9:
            seed += 1
            await station.teleport(sample_start(seed), seed)
            lean_rad = (await station.truth())["pin_rx_rad"]
        report = await environment.reset(station, lease, 21, admin=station)
        assert report.success, report.reason
        assert report.counts["handovers"] >= 1
        truth = await station.truth()
        assert truth["held"] == 1.0
        assert np.hypot(truth["pin_rx_rad"], truth["pin_ry_rad"]) < 0.08
        left = station.world.observe()["left_tcp"]
        assert np.linalg.norm(left[:3] - LEFT_PARKED[:3]) < 0.02, "the left arm is out of the policy's way again"

    on_the_bench(body, grasp_tilt_rad=Spread(value=0.6))


@pytest.mark.parametrize("head_xy_m", [(0.02, 0.06), (-0.04, -0.06)], ids=["plate", "table"])
@pytest.mark.parametrize("heading_rad", [-0.6, 2.3], ids=["forwards", "backwards"])
def test_a_pin_that_lies_is_picked_up_and_set_upright(heading_rad: float, head_xy_m: tuple[float, float]) -> None:
    async def body(environment: PinInsertion, station: FakeStation, lease: Lease) -> None:
        await _lay(station, head_xy_m, heading_rad)
        frames = [await station.capture(camera) for camera in spec.CAMERAS]
        seen = lying_heading(frames[0])
        assert seen is not None
        assert abs(math.remainder(seen - heading_rad, 2 * math.pi)) < 0.15
        report = await environment.reset(station, lease, 23, admin=station)
        assert report.success, report.reason
        assert report.counts["pickups"] == 1
        assert report.counts["handovers"] >= 1
        truth = await station.truth()
        assert truth["held"] == 1.0
        assert np.hypot(truth["pin_rx_rad"], truth["pin_ry_rad"]) < 0.08

    on_the_bench(body)


def test_a_left_arm_that_a_failed_handover_left_there_is_parked_before_the_episode() -> None:
    async def body(environment: PinInsertion, station: FakeStation, lease: Lease) -> None:
        async with station.control(lease, "test") as session:
            seen = await session.hold()
            hands = Hands.of(seen.values, seen.executed)
            await perform(
                session, move(hands, "left", [-0.05, 0.03, 0.19, *SIDEWAYS], within_m=0.01, must=False), hands
            )
        report = await environment.reset(station, lease, 22, admin=station)
        assert report.success, report.reason
        assert report.counts["handovers"] == 0
        left = station.world.observe()["left_tcp"]
        assert np.linalg.norm(left[:3] - LEFT_PARKED[:3]) < 0.02

    on_the_bench(body)


def test_force_over_the_limit_ends_the_episode_and_stands_in_the_evidence() -> None:
    async def body(environment: PinInsertion, station: FakeStation, lease: Lease) -> None:
        report = await environment.reset(station, lease, 13, admin=station)
        assert report.success, report.reason
        async with station.control(lease, "test") as session:
            seen = await session.hold()
            hands = Hands.of(seen.values, seen.executed)
            hands.soften("right", (2000.0, 60.0))
            skill = glide(hands, "right", raised(hands.pose("right"), -0.12), speed_m_s=0.1)
            result = await environment.step(session, next(skill))
            while not (result.truncated or result.terminated):
                try:
                    action = skill.send(result.observation.values)
                except StopIteration:
                    skill = pause(hands, 1.0)
                    action = next(skill)
                result = await environment.step(session, action)
            evidence = await environment.evidence(station, session)
        assert result.truncated
        assert result.info["steps"] < environment.max_steps
        assert evidence.measures["peak_force_N"] >= spec.MAX_FORCE_N
        assert {frame.camera for frame in evidence.frames} == set(spec.CAMERAS)
        assert all(frame.depth_m is not None for frame in evidence.frames)

    on_the_bench(body)


async def _stand(station: FakeStation, *, hole: int = 0, away: bool = False) -> None:
    """The pin stands in a hole, let go (or lies far away), the right gripper is empty and aside."""
    truth = await station.truth()
    at = [truth[f"mouth_{hole}_{axis}_m"] for axis in "xyz"]
    place = (0.36, 0.2, 0.01) if away else (at[0], at[1], at[2] - 0.0247)
    aside = {"hole": float(hole), "tip_x_m": 0.13, "tip_y_m": -0.05, "tip_z_m": 0.10, "yaw_rad": 0.0}
    pin = dict(zip(("pin_x_m", "pin_y_m", "pin_z_m"), place, strict=True))
    turn = {"pin_rx_rad": 1.57 if away else 0.0, "pin_ry_rad": 0.0, "pin_rz_rad": 0.2}
    await station.teleport({**aside, **pin, **turn, "bottom_m": 0.025}, 1)


async def _lay(station: FakeStation, head_xy_m: tuple[float, float], heading_rad: float) -> None:
    """The pin lies, its head somewhere and its tip along a heading, the right gripper is empty and aside."""
    on_plate = math.hypot(head_xy_m[0], head_xy_m[1] - 0.05) < 0.05
    c, s = math.cos(heading_rad), math.sin(heading_rad)
    tip = (head_xy_m[0] + GRASP_TO_TIP_m * c, head_xy_m[1] + GRASP_TO_TIP_m * s, 0.055 if on_plate else 0.015)
    turn = compose(np.array([0.0, 1.5, 0.0]), np.array([0.0, 0.0, heading_rad + math.pi]))
    aside = {"hole": 1.0, "tip_x_m": 0.10, "tip_y_m": -0.15, "tip_z_m": 0.12, "yaw_rad": 0.0}
    pin = dict(zip(("pin_x_m", "pin_y_m", "pin_z_m"), tip, strict=True))
    turned = dict(zip(("pin_rx_rad", "pin_ry_rad", "pin_rz_rad"), turn.tolist(), strict=True))
    await station.teleport({**aside, **pin, **turned, "bottom_m": 0.025}, 1)


@pytest.mark.parametrize(("seed", "toppled"), [(3, False), (5, True)])
def test_an_episode_that_would_lose_the_pin_is_broken_off_and_the_hand_comes_off(seed: int, toppled: bool) -> None:
    """Pressed beside the hole and dragged along, the pin meets 40 N, or topples in the jaws."""

    async def body(environment: PinInsertion, station: FakeStation, lease: Lease) -> None:
        assert (await environment.reset(station, lease, seed, admin=station)).success
        async with station.control(lease, "press") as session:
            begin = (await session.hold()).values["right_tcp"]
            for steps in range(spec.MAX_STEPS):
                pose = begin + np.array(
                    [min(0.03, 0.0006 * max(0, steps - 60)), 0, -min(0.075, 0.0015 * steps), 0, 0, 0]
                )
                action = {"right_pose": pose, "right_stiffness": np.array([1500.0, 30.0])}
                result = await environment.step(session, action)
                if result.truncated:
                    break
            assert steps < 150
            assert (lean_rad(result.observation.values) > spec.TOPPLING_rad) == toppled
            assert (result.info["peak_force_N"] < spec.MAX_FORCE_N) == toppled
            await environment.evidence(station, session)
        truth = await station.truth()
        assert truth["held"] == 1.0
        assert truth["tip_z_m"] > 0.005, "the hand is off the plate"
        report = await environment.reset(station, lease, seed + 100, admin=station)
        assert (report.success, report.attempts) == (True, 1), report.reason

    on_the_bench(body)
