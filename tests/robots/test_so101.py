"""The SO-101 driver against an emulated bus: LeRobot, Feetech's SDK and pyserial are real, the servos are not."""

from __future__ import annotations

import json
import math
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nightlab.contracts import Station
from nightlab.errors import SafetyError, StationError, UsageError
from nightlab.records import CellConfig
from nightlab.testing import feetech
from nightlab.testing.feetech import EmulatedFeetechBus
from nightlab.testing.station import StationContract
from robots.driver import Primitive
from robots.drivers.lerobot_arm import LeRobotArm
from robots.drivers.so101 import BODY, GRIPPER, make
from robots.served import served
from tests.robots.waiting import until

RANGES = [(40, 800, 3300), (-100, 820, 3200), (0, 860, 3080), (512, 900, 3250), (0, 0, 4095), (-7, 2030, 3500)]
"""(homing offset, lowest, highest) of the six servos."""


def calibration(folder: Path, name: str = "so101") -> Path:
    path = folder / f"{name}.json"
    rows = zip((*BODY, GRIPPER), RANGES, strict=True)
    path.write_text(
        json.dumps(
            {
                joint: {"id": i, "drive_mode": 0, "homing_offset": offset, "range_min": low, "range_max": high}
                for i, (joint, (offset, low, high)) in enumerate(rows, 1)
            }
        )
    )
    return path


@contextmanager
def emulated() -> Iterator[EmulatedFeetechBus]:
    with EmulatedFeetechBus() as bus:
        bus.calibrate(RANGES)
        for servo, (offset, low, high) in zip(bus.servos.values(), RANGES, strict=True):
            servo.shaft = (low + high) / 2 + offset
        yield bus


def made(bus: EmulatedFeetechBus, folder: Path, **config: Any) -> LeRobotArm:
    if not (folder / "so101.json").exists():
        calibration(folder)
    cell = CellConfig(station="robot-1", driver="so101", folder=folder)
    return make({"port": bus.port, "calibration": "so101.json", "answer_timeout_s": 1.0, **config}, cell)


def drive(driver: LeRobotArm, request: Primitive) -> int:
    periods = 0
    for action in driver.primitive(request):
        driver.step(action)
        time.sleep(1 / driver.spec().rate_hz)
        periods += 1
    return periods


class TestSo101(StationContract):
    """The emulated arm behind a station server keeps the contract."""

    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path: Path) -> None:
        self.folder = tmp_path

    def open(self) -> AbstractAsyncContextManager[Station]:
        return self._open()

    @asynccontextmanager
    async def _open(self) -> AsyncIterator[Station]:
        with emulated() as bus:
            async with served(made(bus, self.folder)) as client:
                yield client


def test_units_limits_and_speed_come_from_the_calibration(tmp_path: Path) -> None:
    with emulated() as bus:
        driver = made(bus, tmp_path, margin_deg=2.0, low_deg={"shoulder_lift": -30.0})
        spec = driver.spec()
        assert (spec.kind, spec.rate_hz, spec.simulated) == ("so101", 30.0, False)
        low, high = spec.limits.action_low["joint_target"], spec.limits.action_high["joint_target"]
        half_deg = (3300 - 800) * 180 / 4095 - 2.0
        assert math.degrees(high[0]) == pytest.approx(half_deg), "the calibrated range less the margin"
        assert math.degrees(low[1]) == pytest.approx(-30.0), "narrower where station.yaml says so"
        assert spec.limits.max_step["joint_target"][0] == pytest.approx(1.5 / 30)
        seen = driver.observe()
        assert np.abs(seen["joint_pos"]).max() < 0.002, "mid-range is zero"
        assert seen["gripper_open"][0] == pytest.approx(0.5, abs=0.001)
        bus.servos[1].memory[feetech.TORQUE] = 0  # moved by hand
        bus.servos[1].shaft += 4095 / 36
        time.sleep(0.02)
        assert driver.observe()["joint_pos"][0] == pytest.approx(math.radians(10), abs=0.002), "10 degrees further"
        driver.close()
        assert not any(servo.torque for servo in bus.servos.values()), "closing lets go"


def test_it_starts_where_it_stands(tmp_path: Path) -> None:
    with emulated() as bus:
        bus.servos[2].put(feetech.GOAL, 900)
        before = bus.servos[2].shaft
        driver = made(bus, tmp_path)
        time.sleep(0.2)
        driver.observe()
        assert bus.servos[2].torque, "powered"
        assert abs(bus.servos[2].shaft - before) < 3, "an old goal in a servo does not make it jump"
        driver.close()


def test_an_arm_that_rests_outside_its_limits_stays_there_and_home_brings_it_inside(tmp_path: Path) -> None:
    with emulated() as bus:
        bus.servos[2].shaft -= 80 * 4095 / 360
        driver = made(bus, tmp_path, low_deg={"shoulder_lift": -60.0}, max_speed_rad_per_s=6.0)
        before, still = bus.servos[2].shaft, driver.hold_action()
        assert math.degrees(still["joint_target"][1]) == pytest.approx(-80, abs=0.2), "its target is where it is"
        for _ in range(5):
            driver.step(driver.hold_action())
            time.sleep(0.02)
        assert abs(bus.servos[2].shaft - before) < 3, "holding does not move it"
        with pytest.raises(SafetyError, match=r"shoulder_lift.pos = .* is outside .*held"):
            driver.step({**still, "joint_target": still["joint_target"] - np.array([0, 0.05, 0, 0, 0])})
        drive(driver, Primitive("home"))
        assert math.degrees(driver.observe()["joint_pos"][1]) == pytest.approx(-60, abs=4), "inside its limits"
        with pytest.raises(SafetyError, match="held"):
            driver.step(still)
        driver.close()


def test_commands_reach_the_servos_and_limits_hold(tmp_path: Path) -> None:
    with emulated() as bus:
        driver = made(bus, tmp_path)
        still = driver.hold_action()
        target = {**still, "joint_target": still["joint_target"] + np.array([0.1, 0, 0, 0, 0])}
        for _ in range(10):
            driver.step(target)
            time.sleep(0.02)
        assert driver.observe()["joint_pos"][0] == pytest.approx(0.1, abs=0.01)
        begin = time.monotonic()
        for bad in (9.0, math.nan):
            with pytest.raises(SafetyError, match=r"joint_target.*held"):
                driver.step({**still, "joint_target": np.full(5, bad)})
        assert not bus.written(feetech.GOAL, begin), "what is outside the limits never reaches the bus"
        driver.step({**still, "joint_target": np.clip(still["joint_target"] + 2.0, -0.9, 0.9)})
        assert until(lambda: bus.written(feetech.GOAL, begin)), "a legal command does"
        goal_deg = (int.from_bytes(bus.written(feetech.GOAL, begin)[0][1], "little") - 2050) * 360 / 4095
        assert goal_deg <= math.degrees(0.1) + 25.5, "and LeRobot's max_relative_target shortens it"
        driver.close()


def test_primitives(tmp_path: Path) -> None:
    with emulated() as bus:
        driver = made(bus, tmp_path, max_speed_rad_per_s=3.0, gripper_max_speed_per_s=3.0)
        assert drive(driver, Primitive("move_to_pose", pose=(0.2, -0.2, 0.1, 0.0, 0.3))) > 3
        np.testing.assert_allclose(driver.observe()["joint_pos"], (0.2, -0.2, 0.1, 0.0, 0.3), atol=0.05)
        bus.servos[6].blocked_at = bus.servos[6].shaft - 200
        drive(driver, Primitive("grasp", width_m=0.0, force_N=5.0))
        held = driver.observe()["gripper_open"][0]
        assert 0.3 < held < 0.45, "the jaws stop at what is between them"
        assert held - driver.hold_action()["gripper_target"][0] <= 0.05, "and press a little, not with all they have"
        drive(driver, Primitive("release"))
        assert driver.observe()["gripper_open"][0] > 0.95
        drive(driver, Primitive("home"))
        assert np.abs(driver.observe()["joint_pos"]).max() < 0.05, "home is where it stood at the start"
        with pytest.raises(StationError, match=r"takes 5 joint targets in rad \(shoulder_pan.pos"):
            driver.primitive(Primitive("move_to_pose", pose=(0.0,)))
        with pytest.raises(
            StationError, match=r"no primitive 'apply_force'; it has: move_to_pose, home, grasp, release"
        ):
            driver.primitive(Primitive("apply_force"))
        driver.close()


def test_an_estop_takes_the_power_off_and_nothing_is_sent_until_it_is_cleared(tmp_path: Path) -> None:
    with emulated() as bus:
        driver = made(bus, tmp_path)
        begin = time.monotonic()
        driver.stop("a hand in the cell")
        assert time.monotonic() - begin < 0.5, "it waits for nothing"
        until = time.monotonic() + 2
        while any(servo.torque for servo in bus.servos.values()) and time.monotonic() < until:
            time.sleep(0.005)
        assert not any(servo.torque for servo in bus.servos.values()), "no servo has torque"
        begin = time.monotonic()
        with pytest.raises(StationError, match="a hand in the cell"):
            driver.step(driver.hold_action())
        assert not bus.written(feetech.GOAL, begin)
        bus.servos[1].shaft += 100
        driver.clear()
        assert all(servo.torque for servo in bus.servos.values())
        time.sleep(0.1)
        where = driver.observe()["joint_pos"][0]
        assert where == pytest.approx(100 * 2 * math.pi / 4095, abs=0.01), "cleared, it stays where it is now"
        assert driver.hold_action()["joint_target"][0] == pytest.approx(where, abs=0.01)
        driver.close()


def test_a_lost_packet_of_the_estop_is_sent_again(tmp_path: Path) -> None:
    with emulated() as bus:
        driver = made(bus, tmp_path)
        bus.lost[4, feetech.TORQUE] = 2
        driver.stop("a hand in the cell")
        assert not any(servo.torque for servo in bus.servos.values()), (
            "every servo has let go, also the one that missed it"
        )
        begin = time.monotonic()
        driver.stop("a hand in the cell")
        assert not bus.written(feetech.TORQUE, begin), "once it is off, a repeated e-stop does nothing"
        driver.close()


def test_a_servo_that_keeps_its_torque_is_said_until_it_lets_go(tmp_path: Path) -> None:
    with emulated() as bus:
        driver = made(bus, tmp_path)
        bus.lost[4, feetech.TORQUE] = 5
        with pytest.raises(
            StationError, match=r"^power not cut: servos that still have torque: wrist_flex \(4\); cut it by hand$"
        ):
            driver.stop("test")
        with pytest.raises(StationError, match="e-stop: test; nothing is sent"):
            driver.step(driver.hold_action())
        driver.stop("test")
        assert not any(servo.torque for servo in bus.servos.values())
        driver.close()


def test_a_repeated_estop_says_that_the_bus_is_busy(tmp_path: Path) -> None:
    with emulated() as bus:
        driver = made(bus, tmp_path)
        busy, free = threading.Event(), threading.Event()
        read = driver._robot.get_observation

        def slow() -> dict[str, Any]:
            busy.set()
            free.wait(10)
            return dict(read())

        driver._robot.get_observation = slow  # type: ignore[method-assign]
        driver._seen_s = -math.inf
        reader = threading.Thread(target=driver.observe)
        reader.start()
        busy.wait(10)
        driver.stop("test")  # whoever has the bus will cut the power
        with pytest.raises(StationError, match=r"power not cut: the bus is busy.*cut it by hand"):
            driver.stop("test")
        assert all(servo.torque for servo in bus.servos.values())
        free.set()
        reader.join(10)
        assert not any(servo.torque for servo in bus.servos.values()), "cut by whoever had the bus"
        driver.stop("test")
        driver.close()


@pytest.mark.parametrize("lost", [2, 3])
def test_torque_comes_on_only_when_every_goal_is_where_the_servo_stands(tmp_path: Path, lost: int) -> None:
    with emulated() as bus:
        driver = made(bus, tmp_path)
        driver.stop("test")
        bus.servos[3].shaft += 300  # it sank
        before = bus.servos[3].shaft
        bus.lost[3, feetech.GOAL] = lost
        if lost == 2:
            driver.clear()
            time.sleep(0.1)
            driver.observe()
            assert abs(bus.servos[3].shaft - before) < 3, "written again, it does not run to its old goal"
        else:
            with pytest.raises(
                StationError, match=r"in 3 tries \(elbow_flex \d+ instead of \d+\)\. Look at the cables"
            ):
                driver.clear()
            assert not any(servo.torque for servo in bus.servos.values()), "no torque"
            with pytest.raises(StationError, match="e-stop: test"):
                driver.step(driver.hold_action())
        driver.close()


def test_an_old_goal_that_cannot_be_replaced_keeps_the_arm_from_opening(tmp_path: Path) -> None:
    with emulated() as bus:
        bus.servos[2].put(feetech.GOAL, 900)
        bus.lost[2, feetech.GOAL] = 3
        with pytest.raises(StationError, match=r"^servos took no goal .* in 3 tries \(shoulder_lift 900 instead of"):
            made(bus, tmp_path)
        assert not any(servo.torque for servo in bus.servos.values()), "no torque"
        bus.lost[2, feetech.GOAL] = 2
        driver = made(bus, tmp_path)
        driver.close()


def test_a_clear_that_fails_half_way_is_an_estop_again(tmp_path: Path) -> None:
    with emulated() as bus:
        driver = made(bus, tmp_path)
        driver.stop("test")
        bus.status[4] = 32
        with pytest.raises(StationError, match=r"cannot switch on the so101 robot.*verload"):
            driver.clear()
        assert not any(servo.torque for servo in bus.servos.values()), "those that were on already are off again"
        with pytest.raises(StationError, match="e-stop: test"):
            driver.step(driver.hold_action())
        bus.status.clear()
        driver.clear()
        assert all(servo.torque for servo in bus.servos.values())
        driver.close()


def test_closing_lets_every_servo_go_and_frees_the_port(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with emulated() as bus:
        driver = made(bus, tmp_path)
        bus.status[1] = 32
        bus.lost[5, feetech.TORQUE] = 1
        driver.close()
        assert "closing: " in capsys.readouterr().err, "LeRobot's own disconnect stops at the servo that complains"
        assert not any(servo.torque for servo in bus.servos.values()), "all of them were told before"
        assert not driver._robot.bus.is_connected, "the port is free"  # type: ignore[attr-defined]
        bus.status.clear()
        driver = made(bus, tmp_path, torque_off_on_close=False)
        driver.close()
        assert all(servo.torque for servo in bus.servos.values()), "unless they shall stay"


def test_after_a_broken_transaction_the_next_one_says_the_truth(tmp_path: Path) -> None:
    with emulated() as bus:
        driver = made(bus, tmp_path)
        port = driver._robot.bus.port_handler  # type: ignore[attr-defined]
        read = port.readPort

        def unplugged(length: int) -> bytes:
            port.readPort = read
            raise OSError("device disconnected")

        port.readPort = unplugged
        time.sleep(0.02)
        with pytest.raises(StationError, match="cannot read the so101 robot: device disconnected"):
            driver.observe()
        assert np.isfinite(driver.observe()["joint_pos"]).all(), "not `Port is in use`"
        driver.close()


def test_a_corrupt_answer_is_asked_for_again_and_a_dead_bus_is_a_fault(tmp_path: Path) -> None:
    with emulated() as bus:
        driver = made(bus, tmp_path)
        time.sleep(0.05)
        bus.corrupt = 1
        assert np.isfinite(driver.observe()["joint_pos"]).all(), "one bad packet is nothing"
        bus.missing = {4}
        time.sleep(0.05)
        with pytest.raises(StationError, match=r"cannot read the so101 robot.*Look at its power supply") as caught:
            driver.observe()
        assert "\n" not in str(caught.value)
        bus.missing = set()
        driver.observe()
        driver.close()


def test_what_is_absent_or_wrong_is_one_line_with_the_fix(tmp_path: Path) -> None:
    def refused(bus: EmulatedFeetechBus, says: str, kind: type[Exception] = StationError, **config: Any) -> None:
        with pytest.raises(kind, match=says) as caught:
            made(bus, tmp_path, **config)
        assert "\n" not in str(caught.value)

    with emulated() as bus:
        refused(bus, r"no port /dev/no-arm; serial ports here: .*lerobot-find-port", port="/dev/no-arm")
        refused(
            bus, r"no calibration .*none.json. Make it: lerobot-calibrate --robot.type=so101", calibration="none.json"
        )
        (tmp_path / "bad.json").write_text("{}")
        refused(bus, r"bad.json is no calibration of an SO-101.*it has the joints none", calibration="bad.json")
        rows = json.loads(calibration(tmp_path, "bad").read_text())
        del rows["wrist_flex"]["drive_mode"]
        (tmp_path / "bad.json").write_text(json.dumps(rows))
        refused(
            bus, r"bad.json is no .*wrist_flex needs exactly the whole numbers id, drive_mode", calibration="bad.json"
        )
        refused(bus, r"prt: Extra inputs.*Its settings are: port", UsageError, prt="x")
        refused(bus, r"unknown joint 'knee'", UsageError, low_deg={"knee": 1.0})
        bus.missing = {3}
        refused(bus, r"servos that do not answer on .*: elbow_flex \(3\)\. Is the power supply in")
        bus.missing = set()
        bus.servos[2].put(feetech.MAX_LIMIT, 3000)
        refused(
            bus, r"the servos hold another calibration than .*so101.json \(shoulder_lift\).*write_calibration: true"
        )
        driver = made(bus, tmp_path, write_calibration=True)
        assert bus.servos[2].word(feetech.MAX_LIMIT) == 3200, "written when asked to"
        driver.close()
