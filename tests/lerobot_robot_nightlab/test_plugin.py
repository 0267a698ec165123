"""LeRobot drives a simulated station through the plug-in, and finds it the two ways LeRobot finds plug-ins."""

from __future__ import annotations

import asyncio
import math
import os
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from lerobot_robot_nightlab import Nightlab, NightlabConfig
from lerobot_robot_nightlab.features import features, to_lerobot, to_station
from nightlab.errors import EstopError, LeaseError, SafetyError, StationError
from nightlab.records import Channel
from robots.cell import Cell
from robots.client_session import ClientSession
from robots.drivers.simulated import SimulatedDriver
from robots.profiles import load_profile
from robots.server import StationServer
from robots.worlds import make_world

PROJECT = Path(__file__).parents[2]


@pytest.fixture
def address() -> Iterator[str]:
    driver = SimulatedDriver(
        lambda profile, seed: make_world("push_t", load_profile(profile), seed), "robot-1", "nominal", 1, 10.0
    )
    cell = Cell(driver)
    cell.start()
    server = StationServer(cell, "127.0.0.1:0")
    try:
        yield server.address
    finally:
        server.stop(0.2)


def robot(address: str, folder: Path, **config: object) -> Nightlab:
    return Nightlab(NightlabConfig(id="cell", calibration_dir=folder, address=address, **config))  # type: ignore[arg-type]


def test_lerobot_drives_a_station(address: str, tmp_path: Path) -> None:
    station = robot(address, tmp_path)
    assert station.action_features == {"target_xy.0": float, "target_xy.1": float}, "known before it is connected"
    assert station.observation_features["top"] == (512, 512, 3)
    station.connect()
    try:
        assert station.is_connected
        before = station.get_observation()
        assert before["top"].shape == (512, 512, 3)
        sent = {}
        for _ in range(30):
            sent = station.send_action({"target_xy.0": 200.0, "target_xy.1": 300.0})
        after = station.get_observation()
        assert sent == pytest.approx({"target_xy.0": 200.0, "target_xy.1": 300.0}), "what was executed comes back"
        assert after["agent_xy.0"] == pytest.approx(200.0, abs=3) != before["agent_xy.0"]
        cut = station.send_action({"target_xy.0": 9999.0, "target_xy.1": 300.0})
        assert cut["target_xy.0"] == pytest.approx(280.0), "cut to the bounds, then to the station's largest step"
        with pytest.raises(SafetyError, match="not finite"):
            station.send_action({"target_xy.0": math.nan, "target_xy.1": 0.0})
        with pytest.raises(SafetyError, match=r"the action lacks target_xy.1"):
            station.send_action({"target_xy.0": 1.0})
        with pytest.raises(LeaseError, match="held by 'lerobot'"):
            robot(address, tmp_path, wait_s=0.2).connect()
    finally:
        station.disconnect()
    again = robot(address, tmp_path)
    again.connect()
    again.disconnect()


def teleoperate(station: Nightlab) -> None:
    for _ in range(100):
        station.send_action({"target_xy.0": 200.0, "target_xy.1": 300.0})


def test_an_estop_ends_it_with_one_line(address: str, tmp_path: Path) -> None:
    from robots.client import StationClient

    async def press() -> None:
        client = await StationClient.connect(address)
        await client.estop("a hand in the cell")
        await client.close()

    station = robot(address, tmp_path, images=False)
    station.connect()
    asyncio.run(press())
    with pytest.raises(StationError, match="a hand in the cell"):
        teleoperate(station)
    assert not station.is_connected
    station.disconnect()


@pytest.mark.parametrize("error", [EstopError("e-stop: a hand in the cell"), ValueError("bad packet")])
def test_an_error_in_the_middle_of_a_step_is_told_at_once(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    async def step(*_: object) -> None:
        await asyncio.sleep(0.1)
        raise error

    monkeypatch.setattr(ClientSession, "step", step)
    station = robot(address, tmp_path, images=False)
    station.connect()
    begin_s = time.monotonic()
    with pytest.raises(StationError, match=str(error)):
        station.send_action({"target_xy.0": 200.0, "target_xy.1": 300.0})
    assert time.monotonic() - begin_s < 5, "at once"
    with pytest.raises(StationError, match=str(error)):
        station.send_action({"target_xy.0": 200.0, "target_xy.1": 300.0})
    assert not station.is_connected
    station.disconnect()


def test_nobody_there_is_one_line(tmp_path: Path) -> None:
    for act in (
        lambda: robot("127.0.0.1:1", tmp_path).connect(),
        lambda: robot("127.0.0.1:1", tmp_path).action_features,
    ):
        with pytest.raises(StationError, match=r"127\.0\.0\.1:1") as caught:
            act()
        assert "\n" not in str(caught.value)


def test_lerobots_names_and_units_are_kept() -> None:
    channels = (
        Channel(key="joint_target", shape=(2,), unit="rad,rad", low=(-1, -1), high=(1, 1), names=("a.pos", "b.pos")),
        Channel(key="gripper_target", shape=(1,), unit="1", low=(0,), high=(1,), names=("gripper.pos",)),
        Channel(key="target_xy", shape=(2,), unit="px,px", low=(0, 0), high=(512, 512)),
    )
    parts = features(channels)
    flat = to_lerobot(parts, {"joint_target": np.array([math.pi / 6, 0]), "gripper_target": np.array([0.4]),
                              "target_xy": np.array([7.0, 8.0])})  # fmt: skip
    assert flat == pytest.approx({"a.pos": 30, "b.pos": 0, "gripper.pos": 40, "target_xy.0": 7, "target_xy.1": 8})
    back = to_station(parts, channels, flat)
    assert back["joint_target"].tolist() == pytest.approx([math.pi / 6, 0])
    assert back["gripper_target"].tolist() == pytest.approx([0.4])


FIND = """
from pathlib import Path
from lerobot.robots import RobotConfig, make_robot_from_config
from lerobot.utils.import_utils import register_third_party_plugins
register_third_party_plugins()
kind = RobotConfig.get_choice_class("nightlab")
print(type(make_robot_from_config(kind(address="127.0.0.1:1", calibration_dir=Path("calibration")))).__name__)
"""


def test_lerobot_finds_the_plugin_by_the_name_of_its_distribution(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=PROJECT / "lerobot_robot_nightlab", check=True, capture_output=True)
    (wheel,) = tmp_path.glob("lerobot_robot_nightlab-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        assert not [name for name in archive.namelist() if ".dist-info/" not in name], "a name and no files"
        archive.extractall(tmp_path / "site")
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path / 'site'}:{PROJECT}"}
    found = subprocess.run([sys.executable, "-c", FIND], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert found.stdout.strip() == "Nightlab", found.stderr[-2000:]


TELEOP = """
from dataclasses import dataclass
from lerobot.teleoperators import Teleoperator, TeleoperatorConfig

@TeleoperatorConfig.register_subclass("scripted_leader")
@dataclass
class ScriptedLeaderConfig(TeleoperatorConfig): ...

class ScriptedLeader(Teleoperator):
    config_class, name = ScriptedLeaderConfig, "scripted_leader"
    def __init__(self, config):
        super().__init__(config)
        self.on, self.count = False, 0
    action_features = {"target_xy.0": float, "target_xy.1": float}
    feedback_features = {}
    is_connected = property(lambda self: self.on)
    is_calibrated = True
    def connect(self, calibrate=True): self.on = True
    def calibrate(self): ...
    def configure(self): ...
    def get_action(self):
        self.count += 1
        return {"target_xy.0": 100.0 + self.count, "target_xy.1": 200.0}
    def send_feedback(self, feedback): ...
    def disconnect(self): self.on = False
"""


def own_tool(name: str, address: str, folder: Path, *more: str) -> None:
    """Run one of LeRobot's command-line tools, as a person would, with a leader that counts."""
    (folder / "scripted_leader_plugin.py").write_text(TELEOP)
    (folder / "scripted").mkdir()
    (folder / "scripted/__init__.py").write_text("from scripted_leader_plugin import *")
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(folder)}
    environment["PYTHONPATH"] = os.pathsep.join([str(folder), str(PROJECT), os.environ.get("PYTHONPATH", "")])
    command = [
        sys.executable, "-m", f"lerobot.scripts.{name}", "--robot.discover_packages_path=lerobot_robot_nightlab",
        "--robot.type=nightlab", f"--robot.address={address}", f"--robot.calibration_dir={folder}",
        "--teleop.discover_packages_path=scripted", "--teleop.type=scripted_leader",
        f"--teleop.calibration_dir={folder}", *more,
    ]  # fmt: skip
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=840)
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_lerobot_teleoperate(address: str, tmp_path: Path) -> None:
    own_tool("lerobot_teleoperate", address, tmp_path, "--fps=10", "--teleop_time_s=3")
