"""One SO-101 and one camera as a Push-T station: geometry and sight alone, then the whole cell on an emulated bus."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import cv2
import mujoco
import numpy as np
import pytest
import yaml

from nightlab.contracts import Station
from nightlab.errors import UsageError
from nightlab.geometry import GOAL_POSE
from nightlab.records import CellConfig, Channel, LimitsSpec, Outcome, StationSpec
from nightlab.testing.station import StationContract
from robots.client import StationClient
from robots.drivers import CAMERAS, make_driver
from robots.drivers.push_t_setup import main as setup
from robots.drivers.push_t_table import Table
from robots.drivers.so101_kinematics import Kinematics
from robots.drivers.so101_push_t import Reach, So101PushT, TableOptions
from robots.served import served
from robots.worlds.push_t_camera import render_table
from tests.robots import push_t_fake
from tests.robots.test_so101 import RANGES, calibration, emulated

EXAMPLE = Path(__file__).parents[2] / "examples/so101/station.yaml"

CHAIN = """<mujoco><compiler angle="radian"/><worldbody><body pos="0.0388353 0 0.0624" quat="0 0 -1 0">
<joint axis="0 0 1"/><inertial pos="0 0 0" mass="1" diaginertia="1 1 1"/>
<body pos="-0.0303992 -0.0182778 -0.0542" quat="0.5 -0.5 -0.5 -0.5">
<joint axis="0 0 1"/><inertial pos="0 0 0" mass="1" diaginertia="1 1 1"/>
<body pos="-0.11257 -0.028 0" quat="0.707107 0 0 0.707107">
<joint axis="0 0 1"/><inertial pos="0 0 0" mass="1" diaginertia="1 1 1"/>
<body pos="-0.1349 0.0052 0" quat="0.707107 0 0 -0.707107">
<joint axis="0 0 1"/><inertial pos="0 0 0" mass="1" diaginertia="1 1 1"/>
<body pos="0 -0.0611 0.0181" quat="0.0172091 -0.0172091 0.706897 0.706897">
<joint axis="0 0 1"/><inertial pos="0 0 0" mass="1" diaginertia="1 1 1"/>
<site name="tip" pos="-0.0079 -0.000218121 -0.0981274"/>
</body></body></body></body></body></worldbody></mujoco>"""
"""The published chain of the arm (so101_new_calib), frames only."""


def so101_spec(half_rad: float = 1.9) -> StationSpec:
    low, high = (-half_rad,) * 5, (half_rad,) * 5
    return StationSpec(
        station_id="r", kind="so101", rate_hz=10, speed=1, simulated=False, observations=(),
        actions=(Channel(key="joint_target", shape=(5,), unit="rad", low=low, high=high),),
        limits=LimitsSpec(action_low={"joint_target": low}, action_high={"joint_target": high},
                          max_step={"joint_target": (0.15,) * 5}),
    )  # fmt: skip


def example() -> dict[str, Any]:
    return dict(yaml.safe_load(EXAMPLE.read_text())["config"])


def test_kinematics_agree_with_the_published_model() -> None:
    model = mujoco.MjModel.from_xml_string(CHAIN)
    data = mujoco.MjData(model)
    rng = np.random.default_rng(1)
    arm = Kinematics()
    for _ in range(100):
        joints = rng.uniform(-1.2, 1.2, 5)
        joints[4] = 0.0  # the tip rolls with the wrist, 8 mm off its axis
        data.qpos[:] = joints
        mujoco.mj_kinematics(model, data)
        tip = arm.tip(tuple(joints))
        ours = (0.0388353 + tip.r_m * math.cos(tip.pan_rad), -tip.r_m * math.sin(tip.pan_rad), tip.z_m)
        np.testing.assert_allclose(ours, data.site_xpos[0], atol=2e-5)


def test_inverse_of_the_kinematics() -> None:
    arm = Kinematics(tool_m=(0.03, 0.005), offset_rad=(0.01, -0.02, 0.03, 0.0, 0.0))
    for joints in np.random.default_rng(2).uniform((-1, -0.5, -0.5, 0.0, 0), (1, 0.8, 0.9, 1.2, 0.1), (50, 5)):
        tip = arm.tip(tuple(joints))
        back = arm.joints(tip, roll_rad=joints[4] + arm.offset_rad[4])
        assert back is not None
        np.testing.assert_allclose(back, joints, atol=1e-9)
    far = arm.tip((0.0,) * 5)
    assert arm.joints(type(far)(0.9, 0.0, 0.0, 1.5)) is None, "out of reach"


def test_the_example_table_is_within_reach_and_a_larger_one_is_not() -> None:
    table = TableOptions.model_validate(example()["table"])
    reach = Reach(table, so101_spec())
    for place in ((30.0, 40.0), (256.0, 400.0), (480.0, 480.0)):
        joints = reach.joints(place, 0.02)
        assert joints is not None
        xy, above = reach.place(joints)
        np.testing.assert_allclose(xy, place, atol=1e-6)
        assert above == pytest.approx(0.02)
    left, right = reach.joints((100.0, 300.0)), reach.joints((400.0, 300.0))
    assert left is not None
    assert right is not None
    assert left[0] < 0 < right[0], "the picture's right is the arm's right"
    with pytest.raises(UsageError, match=r"\d+ of 49 places are out of the arm's reach, e.g. .* side_m 0.4 smaller"):
        Reach(table.model_copy(update={"side_m": 0.4}), so101_spec())
    with pytest.raises(UsageError, match="out of the arm's reach"):
        Reach(table, so101_spec(half_rad=0.5))


@pytest.mark.parametrize("noise", [0.0, 4.0])
def test_the_camera_is_straightened_and_the_t_found(noise: float) -> None:
    table = Table(push_t_fake.CORNERS_px, push_t_fake.COLOURS)
    rng = np.random.default_rng(3)
    near = None
    for _ in range(12):
        pose = np.array([*rng.uniform(150, 360, 2), rng.uniform(-math.pi, math.pi)])
        truth = render_table(rng.uniform(30, 480, 2).tolist(), pose.tolist())
        seen = table.straightened(push_t_fake.askew(truth, noise))
        assert np.abs(seen.astype(int) - truth).mean() < 6, "the printed colours, where they were"
        found = table.block_pose(seen, near)
        assert found is not None
        assert float(np.hypot(*(found - pose)[:2])) < 2.0
        assert abs(math.remainder(found[2] - pose[2], 2 * math.pi)) < 0.03
        near = found


def test_an_arm_over_part_of_the_t_does_not_move_it() -> None:
    table = Table(push_t_fake.CORNERS_px, push_t_fake.COLOURS)
    pose = np.array([256.0, 230.0, 0.6])
    picture = render_table((0.0, 0.0), pose.tolist()).copy()
    cv2.line(picture, (236, 511), (236, 300), (20, 20, 20), 22)
    seen = table.straightened(push_t_fake.askew(picture, 2.0))
    found = table.block_pose(seen, pose + np.array([4.0, -3.0, 0.05]))
    assert found is not None
    assert float(np.hypot(*(found - pose)[:2])) < 3.0
    empty = table.straightened(push_t_fake.askew(render_table((100.0, 100.0), (-1e4, -1e4, 0.0))))
    assert table.block_pose(empty) is None, "no T, no pose"


def test_tables_that_cannot_be_seen_are_refused() -> None:
    with pytest.raises(UsageError, match="four corners"):
        Table([(0, 0), (1, 0), (1, 1)], push_t_fake.COLOURS)
    with pytest.raises(UsageError, match=r"\[r, g, b\] of each of paper, goal, block, agent"):
        Table(push_t_fake.CORNERS_px, {"paper": (1, 2, 3)})
    with pytest.raises(UsageError, match="cannot be told apart"):
        Table(push_t_fake.CORNERS_px, dict.fromkeys(push_t_fake.COLOURS, (90, 90, 90)))


def test_the_sheet_to_print(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert setup(["sheet", str(tmp_path / "sheet.png"), "--side-m", "0.16"]) == 0
    assert "bar 37.5 x 9.4 mm" in capsys.readouterr().out
    assert cv2.imread(str(tmp_path / "sheet.png")).shape == (1890, 1890, 3)
    assert setup(["sheet", str(tmp_path / "sheet.png"), "--side-m", "9"]) == 2
    assert setup(["picture", str(tmp_path / "none.yaml")]) == 2


@contextmanager
def whole_cell(folder: Path) -> Iterator[tuple[So101PushT, push_t_fake.FakeTable]]:
    """The example's station.yaml, with an emulated bus for its port and an emulated table before its camera."""
    with emulated() as bus:
        calibration(folder)
        middles = [(low + high) / 2 for _, low, high in RANGES]
        fake = push_t_fake.FakeTable(bus, middles)
        config = example()
        config["arm"] = {**config["arm"], "port": bus.port, "answer_timeout_s": 1.0, "max_speed_rad_per_s": 3.0}
        config["camera"] = {"driver": "fake_table"}
        config["corners_px"], config["colours"] = push_t_fake.CORNERS_px, push_t_fake.COLOURS
        driver = make_driver(CellConfig(station="so101-1", driver="so101_push_t", config=config, folder=folder))
        assert isinstance(driver, So101PushT)
        fake.reach = driver._reach
        patient = driver.spec().limits.model_copy(update={"late_periods": 1000})  # the machine of a test may be busy
        driver._spec = driver.spec().model_copy(update={"limits": patient})
        try:
            yield driver, fake
        finally:
            driver.close()


@asynccontextmanager
async def served_cell(folder: Path) -> AsyncIterator[tuple[StationClient, push_t_fake.FakeTable]]:
    with whole_cell(folder) as (driver, fake):
        async with served(driver) as client:
            yield client, fake


@pytest.fixture
def fake_camera(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(CAMERAS, "fake_table", "tests.robots.push_t_fake:open_camera")


class TestSo101PushT(StationContract):
    """The consumer edition behind a station server keeps the contract."""

    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path: Path, fake_camera: None) -> None:
        self.folder = tmp_path

    def open(self) -> AbstractAsyncContextManager[Station]:
        return self._open()

    @asynccontextmanager
    async def _open(self) -> AsyncIterator[Station]:
        async with served_cell(self.folder) as (client, _):
            yield client


def test_it_rests_until_it_is_told_to_go_and_comes_from_above(tmp_path: Path, fake_camera: None) -> None:
    with whole_cell(tmp_path) as (driver, fake):
        before = fake.joints()
        for _ in range(5):
            driver.step(driver.hold_action())
            time.sleep(0.02)
        np.testing.assert_allclose(fake.joints(), before, atol=0.003, err_msg="holding moves nothing")
        heights = []
        for _ in range(60):
            driver.step({"target_xy": np.array([200.0, 300.0])})
            time.sleep(0.05)
            xy, above = driver._reach.place(fake.joints())
            heights.append((float(np.hypot(*(xy - (200, 300)))), above))
        lowest = min(above for off, above in heights if off > 20)
        assert lowest > 0.02, "away from its target it stays above the table"
        assert heights[-1][0] < 6
        assert abs(heights[-1][1]) < 0.003, "then it is down"
        driver.stop("test")
        driver.clear()
        still = fake.joints()
        driver.step(driver.hold_action())
        np.testing.assert_allclose(fake.joints(), still, atol=0.003, err_msg="cleared, it stays")


def test_it_rests_outside_the_limits_of_its_joints_too(tmp_path: Path, fake_camera: None) -> None:
    with whole_cell(tmp_path) as (driver, fake):
        driver.stop("test")
        offset, low, _ = RANGES[1]
        fake.bus.servos[2].shaft = low + offset + 10.0  # beyond the margin of 3 degrees
        driver.clear()
        before = fake.joints()
        for _ in range(5):
            driver.step(driver.hold_action())
            time.sleep(0.02)
        np.testing.assert_allclose(fake.joints(), before, atol=0.003, err_msg="holding moves nothing")
        for _ in range(60):
            driver.step({"target_xy": np.array([200.0, 300.0])})
            time.sleep(0.05)
        xy, _ = driver._reach.place(fake.joints())
        assert float(np.hypot(*(xy - (200, 300)))) < 6, "and it comes back"


@pytest.mark.slow
def test_an_episode_of_push_t_on_the_arm(tmp_path: Path, fake_camera: None) -> None:
    """Reset, pushing and verdict by the environment as it is, on an arm and a camera."""
    from environments.push_t import PushT, PushTVerifier
    from environments.push_t.start import sample_start

    async def run() -> None:
        async with served_cell(tmp_path) as (station, fake):
            environment, seed = PushT(), 5
            start, _ = sample_start(seed)
            fake.world.teleport(start, 0)
            lease = await station.lease("test", environment.limits.model_copy(update={"late_periods": 1000}))
            report = await environment.reset(station, lease, seed)
            assert report.distance < 40, f"driven to the start, the T where a person put it: {report.reason}"
            async with station.control(lease, "test") as session:
                pose = np.array([start[key] for key in ("block_x_px", "block_y_px")])
                for _ in range(60):
                    await environment.step(session, {"target_xy": np.clip(pose, 30, 480)})
                moved = (await station.observe()).values["block_pose"][:2] - pose
                assert float(np.hypot(*moved)) > 5, "the rod pushes the T"
                evidence = await environment.evidence(station, session)
                verdict = PushTVerifier().verify(evidence)
                assert verdict.outcome is Outcome.FAILURE, f"not on its goal: {verdict.reason}"
                goal = dict(zip(("block_x_px", "block_y_px", "block_angle_rad"), GOAL_POSE, strict=True))
                aside = {key: start[key] for key in ("agent_x_px", "agent_y_px")}  # back: away from the T it pushed
                for _ in range(40):
                    await session.step([{"target_xy": np.array(list(aside.values()))}])
                fake.world.teleport({**aside, **goal}, 0)
                evidence = await environment.evidence(station, session)
                assert PushTVerifier().verify(evidence).outcome is Outcome.SUCCESS, "on its goal, by the camera"
            await lease.release()

    asyncio.run(run())
