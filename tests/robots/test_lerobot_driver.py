"""Driver `lerobot`: a robot from a plug-in, and LeRobot's own SO-101 on the emulated bus."""

from __future__ import annotations

import sys
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest

from nightlab.contracts import Station
from nightlab.errors import StationError, UsageError
from nightlab.records import CellConfig
from nightlab.testing import feetech
from nightlab.testing.feetech import EmulatedFeetechBus
from nightlab.testing.station import StationContract
from robots.drivers.lerobot_arm import LeRobotArm
from robots.drivers.lerobot_robot import make
from robots.drivers.so101 import BODY, GRIPPER
from robots.served import served
from tests.robots.test_so101 import calibration, emulated

PLUGIN = """
from dataclasses import dataclass
import numpy as np
from lerobot.robots import Robot, RobotConfig

@RobotConfig.register_subclass("scripted_arm")
@dataclass
class ScriptedArmConfig(RobotConfig):
    asks: bool = False
    broken: bool = False
    calibrated: bool = True

class ScriptedArm(Robot):
    config_class, name = ScriptedArmConfig, "scripted_arm"
    def __init__(self, config):
        super().__init__(config)
        self.config, self.at, self.on = config, {"a.pos": 1.0, "b.pos": -2.0}, False
    observation_features = {"a.pos": float, "b.pos": float, "front": (24, 32, 3)}
    action_features = {"a.pos": float, "b.pos": float}
    is_connected = property(lambda self: self.on)
    is_calibrated = property(lambda self: self.config.calibrated)
    def connect(self, calibrate=True):
        assert not calibrate, "a server cannot calibrate"
        if self.config.asks:
            input("Press ENTER")
        if self.config.broken:
            raise ConnectionError("no\\nanswer")
        self.on = True
    def calibrate(self): ...
    def configure(self): ...
    def get_observation(self):
        return {**self.at, "front": np.full((24, 32, 3), 7, np.uint8)}
    def send_action(self, action):
        self.at = dict(action)
        return action
    def disconnect(self):
        self.on = False
"""
BOUNDS = {"limits": {"a.pos": [-5, 5], "b.pos": [-4, 4]}, "max_step": {"a.pos": 0.5, "b.pos": 0.5}}


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, ...]:
    """LeRobot's arguments of a robot that a package outside LeRobot brings."""
    if "lerobot_robot_scripted" not in sys.modules:
        (tmp_path / "lerobot_robot_scripted.py").write_text(PLUGIN)
        monkeypatch.syspath_prepend(str(tmp_path))
    return (
        "--robot.discover_packages_path=lerobot_robot_scripted",
        "--robot.type=scripted_arm",
        f"--robot.calibration_dir={tmp_path}",
    )


def made(args: tuple[str, ...], **config: Any) -> LeRobotArm:
    return make({"args": args, **BOUNDS, **config}, CellConfig(station="robot-1", driver="lerobot", rate_hz=50.0))


class TestLeRobotDriver(StationContract):
    """A robot that LeRobot's registry gives, behind a station server, keeps the contract."""

    @pytest.fixture(autouse=True)
    def _plugin(self, plugin: tuple[str, ...]) -> None:
        self.args = plugin

    def open(self) -> AbstractAsyncContextManager[Station]:
        return served(made(self.args))


def test_features_become_channels_and_the_robots_own_cameras(plugin: tuple[str, ...]) -> None:
    driver = made(plugin, unit="deg")
    spec = driver.spec()
    assert (spec.kind, spec.actions[0].names, spec.actions[0].unit) == ("scripted_arm", ("a.pos", "b.pos"), "deg,deg")
    assert driver.observe()["position"].tolist() == [1.0, -2.0]
    assert driver.hold_action()["target"].tolist() == [1.0, -2.0], "it starts where it stands"
    assert [(camera.key, camera.width_px, camera.height_px) for camera in spec.cameras] == [("front", 32, 24)]
    assert driver.render("front", 16).shape == (16, 16, 3)
    driver.step({"target": driver.hold_action()["target"] + 0.25})
    driver.stop("test")
    with pytest.raises(StationError, match="e-stop: test"):
        driver.step(driver.hold_action())
    driver.clear()
    assert driver.hold_action()["target"].tolist() == [1.25, -1.75], "cleared, from where it is"
    driver.close()


def test_what_is_absent_or_wrong_is_one_line_with_the_fix(plugin: tuple[str, ...]) -> None:
    def refused(says: str, kind: type[Exception], args: tuple[str, ...], **config: Any) -> None:
        with pytest.raises(kind, match=says) as caught:
            made(args, **config)
        assert "\n" not in str(caught.value)

    refused(r"limits and max_step need exactly the joints a.pos, b.pos; missing: b.pos", UsageError, plugin,
            limits={"a.pos": [-1, 1]})  # fmt: skip
    refused(r"one is --robot.type=…", UsageError, ("--teleop.type=x",))
    refused(r"unknown LeRobot robot 'nonesuch'; there are: .*scripted_arm", UsageError, ("--robot.type=nonesuch",))
    refused(r"does not take .*--robot.colour=red", UsageError, (*plugin, "--robot.colour=red"))
    refused(
        r"the robot scripted_arm asks at the terminal \('Press ENTER'\)", StationError, (*plugin, "--robot.asks=true")
    )
    refused(r"scripted_arm cannot be connected: no answer", StationError, (*plugin, "--robot.broken=true"))
    refused(r"scripted_arm is not calibrated; calibrate it: lerobot-calibrate .*--robot.type=scripted_arm",
            StationError, (*plugin, "--robot.calibrated=false"))  # fmt: skip


def own_so101(bus: EmulatedFeetechBus, folder: Path) -> LeRobotArm:
    keys = [f"{name}.pos" for name in (*BODY, GRIPPER)]
    return make(
        {
            "args": [
                "--robot.type=so101_follower", f"--robot.port={bus.port}", "--robot.id=so101",
                f"--robot.calibration_dir={folder}", "--robot.max_relative_target=20",
            ],
            "limits": {key: [-80, 80] if key != "gripper.pos" else [0, 100] for key in keys},
            "max_step": dict.fromkeys(keys, 3.0),
        },
        CellConfig(station="robot-1", driver="lerobot"),
    )  # fmt: skip


def test_lerobots_own_so101_by_its_type_starts_where_it_stands(tmp_path: Path) -> None:
    with emulated() as bus:
        calibration(tmp_path)
        for servo in bus.servos.values():
            servo.put(feetech.GOAL, 1500)  # old: LeRobot's connect() alone lets them run there
        before = [servo.shaft for servo in bus.servos.values()]
        driver = own_so101(bus, tmp_path)
        seen = driver.observe()["position"]
        assert seen[:5] == pytest.approx([0.0] * 5, abs=0.2), "degrees, as LeRobot gives them"
        assert all(servo.torque for servo in bus.servos.values())
        assert [servo.shaft for servo in bus.servos.values()] == pytest.approx(before, abs=3)
        driver.close()


def test_an_so101_with_another_calibration_gets_no_torque(tmp_path: Path) -> None:
    with emulated() as bus:
        calibration(tmp_path)
        bus.servos[2].put(feetech.MAX_LIMIT, 3000)
        with pytest.raises(
            StationError, match=r"so_follower is not calibrated; calibrate it: lerobot-calibrate --robot"
        ):
            own_so101(bus, tmp_path)
        assert not any(servo.torque for servo in bus.servos.values())
