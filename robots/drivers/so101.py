"""Driver `so101`: a LeRobot SO-101 (or SO-100) follower arm on its USB port.

    driver: so101
    config: {port: /dev/ttyACM0, calibration: so101.json}

Never asks at the terminal: the calibration file of `lerobot-calibrate` must exist, and the servos must hold the same
numbers. Before torque comes on, the goal in every servo is where it stands, and read back; an e-stop reads back that the
torque is off. Limits are always on, three times: the station's bounds (the calibrated range less a margin), LeRobot's
`max_relative_target`, and the servos' own position limits.

Channels: `joint_pos`, `joint_target` (5,) rad, 0 = middle of the calibrated range; `gripper_open`, `gripper_target`
(1,), 0 closed to 1 open. The jaws press with at most half of the servo's torque (LeRobot sets that); no force is
measured, so a `grasp` with `force_N` closes with that.
"""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from pydantic import Field

from nightlab.errors import StationError, UsageError
from nightlab.records import CellConfig, Record
from robots.drivers.joints import Joints
from robots.drivers.lerobot_arm import Arm, LeRobotArm, Power, no_questions
from robots.drivers.options import read_options

BODY: Final = ("shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll")
GRIPPER: Final = "gripper"
STEPS_per_turn: Final = 4095
"""As LeRobot counts: its degrees are steps · 360 / 4095."""
DEGREE: Final = math.pi / 180
INSTALL: Final = "Install what it needs: pip install 'lerobot[feetech]'"
CALIBRATION: Final = ("id", "drive_mode", "homing_offset", "range_min", "range_max")
"""What LeRobot's loader needs of each joint: whole numbers, no more, no less."""
BEYOND_steps: Final = 60
"""A servo may keep its goal at the end of its range while it stands so far beyond: it then comes back those 5 degrees."""
TRIES: Final = 3
"""How often a packet is sent that no servo acknowledges, until reading back shows that it arrived."""


class So101Options(Record):
    """The `config` section of driver `so101`."""

    port: str
    """Prefer /dev/serial/by-id/…: it survives a replugging."""
    calibration: Path
    """The file of `lerobot-calibrate`."""
    write_calibration: bool = False
    """Write the file into servos that hold other numbers (a replaced servo), instead of refusing."""
    margin_deg: float = Field(default=3.0, ge=0)
    """Kept from both ends of the calibrated range of each joint."""
    low_deg: dict[str, float] = Field(default_factory=dict)
    """Narrower limits of a joint, by name, measured from the middle of its calibrated range."""
    high_deg: dict[str, float] = Field(default_factory=dict)
    max_speed_rad_per_s: float = Field(default=1.5, gt=0, le=10)
    gripper_max_speed_per_s: float = Field(default=1.5, gt=0, le=10)
    max_relative_deg: float = Field(default=25.0, gt=0, le=90)
    """LeRobot's own clamp: how far a target may be from where the joint is. Cannot be switched off."""
    estop: Literal["power_off", "hold"] = "power_off"
    """`power_off`: the servos let go, and the arm sinks. `hold`: they stay where they are, under power."""
    read_retries: int = Field(default=3, ge=0, le=10)
    answer_timeout_s: float = Field(default=0.05, ge=0.05, le=5)
    """How long a servo may take to answer: 0.05 is LeRobot's."""
    opening_m: float = Field(default=0.1, gt=0)
    """Width of the open jaws."""
    torque_off_on_close: bool = True
    """When the server stops: the servos let go, and the arm sinks. False: they stay where they are, under power."""


def make(config: Mapping[str, Any], cell: CellConfig) -> LeRobotArm:
    """The driver of `station.yaml`.

    Raises:
        UsageError: settings that it does not take.
        StationError: no such port, servos that do not answer, no calibration or another one, lerobot's Feetech part is
            missing. One line, with what to do.
    """
    options = read_options(So101Options, config, f"driver 'so101' of {cell.station}")
    calibration = cell.path(options.calibration)
    ranges = read_calibration(calibration, options.port)
    rate_hz = cell.rate_hz or 30.0
    joints = joints_of(options, ranges, rate_hz)
    robot = connect(options, calibration)
    arm = Arm(
        kind=cell.kind or "so101", rate_hz=rate_hz, joints=joints, grippers={"": "gripper_target"},
        arms={"": "joint_target"}, opening_m=options.opening_m, home=cell.home,
        fix=f"Look at its power supply and the cable of {options.port}, then start the station again",
    )  # fmt: skip
    power = Power(
        off=lambda: _off(robot, options), on=lambda: _on(robot), close=lambda: _close(robot, options),
        broken=lambda: _free(robot.bus),
    )  # fmt: skip
    return LeRobotArm(cell.station, robot, arm, power)


def read_calibration(path: Path, port: str) -> dict[str, tuple[int, int]]:
    """(lowest, highest) step of each joint, from the file of `lerobot-calibrate`.

    Raises:
        StationError: no such file, or not one of a calibrated SO-101.
    """
    again = (
        f"Make it: lerobot-calibrate --robot.type=so101_follower --robot.port={port} --robot.id={path.stem} "
        f"--robot.calibration_dir={path.parent}"
    )
    if not path.is_file():
        raise StationError(f"no calibration {path}. {again}")
    try:
        raw = json.loads(path.read_text())
        if set(raw) != {*BODY, GRIPPER}:
            raise ValueError(f"it has the joints {', '.join(raw) or 'none'}, needed are {', '.join((*BODY, GRIPPER))}")
        for name, row in raw.items():
            if set(row) != set(CALIBRATION) or not all(type(value) is int for value in row.values()):
                raise ValueError(f"{name} needs exactly the whole numbers {', '.join(CALIBRATION)}")
        ranges = {name: (row["range_min"], row["range_max"]) for name, row in raw.items()}
    except (ValueError, KeyError, TypeError) as error:
        raise StationError(
            f"{path} is no calibration of an SO-101 ({type(error).__name__}: {error}). {again}"
        ) from error
    for name, (low, high) in ranges.items():
        if not 0 <= low < high <= STEPS_per_turn:
            raise StationError(f"{path}: {name} ranges from {low} to {high}, which cannot be. {again}")
    return ranges


def joints_of(options: So101Options, ranges: Mapping[str, tuple[int, int]], rate_hz: float) -> tuple[Joints, Joints]:
    """Body and gripper with their limits. Raises UsageError for limits that name no joint or leave nothing."""
    unknown = (set(options.low_deg) | set(options.high_deg)) - set(BODY)
    if unknown:
        raise UsageError.unknown("joint", min(unknown), BODY, "low_deg: {shoulder_lift: -60} in station.yaml")
    half = np.array([(ranges[name][1] - ranges[name][0]) * 180 / STEPS_per_turn for name in BODY]) - options.margin_deg
    low = np.maximum(-half, [options.low_deg.get(name, -360.0) for name in BODY])
    high = np.minimum(half, [options.high_deg.get(name, 360.0) for name in BODY])
    if not (low < high).all():
        at = int(np.argmax(low >= high))
        raise UsageError(f"{BODY[at]}: its limits {low[at]:.1f} to {high[at]:.1f} deg leave nothing; lower margin_deg")
    size = len(BODY)
    return (
        Joints(
            action="joint_target", observation="joint_pos", keys=tuple(f"{name}.pos" for name in BODY), unit="rad",
            scale=np.full(size, DEGREE), offset=np.zeros(size), low=low * DEGREE, high=high * DEGREE,
            max_step=np.full(size, options.max_speed_rad_per_s / rate_hz), text="joint angles from mid-range",
        ),
        Joints(
            action="gripper_target", observation="gripper_open", keys=(f"{GRIPPER}.pos",), unit="1",
            scale=np.array([0.01]), offset=np.zeros(1), low=np.zeros(1), high=np.ones(1),
            max_step=np.array([options.gripper_max_speed_per_s / rate_hz]), text="opening of the jaws",
        ),
    )  # fmt: skip


def connect(options: So101Options, calibration: Path) -> Any:
    """Open the port, check every servo and its calibration, and switch the power on where the arm is.

    Raises:
        StationError: see `make`.
    """
    find = "Find it: lerobot-find-port"
    if not Path(options.port).exists():
        there = sorted(str(path) for pattern in ("ttyACM*", "ttyUSB*") for path in Path("/dev").glob(pattern))
        raise StationError(f"no port {options.port}; serial ports here: {', '.join(there) or 'none'}. {find}")
    try:
        from lerobot.robots.so_follower import SO101Follower, SO101FollowerConfig

        robot = SO101Follower(
            SO101FollowerConfig(
                port=options.port, id=calibration.stem, calibration_dir=calibration.parent,
                max_relative_target=dict(
                    zip((*BODY, GRIPPER), [options.max_relative_deg] * len(BODY) + [100.0], strict=True)
                ),
                num_read_retries=options.read_retries, disable_torque_on_disconnect=options.torque_off_on_close,
            )
        )  # fmt: skip
    except ImportError as error:
        raise StationError(f"driver 'so101': {' '.join(str(error).split())}. {INSTALL}") from error
    try:
        with no_questions("the SO-101"):
            _be_patient(robot.bus.port_handler, options.answer_timeout_s - 0.05)
            _open(robot, options, calibration)
    except StationError:
        _shut(robot)
        raise
    except Exception as error:
        _shut(robot)
        why = " ".join(str(error.__cause__ or error).split())
        denied = " Let yourself in: sudo usermod -aG dialout $USER, and log in again." if "ermission" in why else ""
        raise StationError(f"the SO-101 on {options.port} does not answer: {why}.{denied} {find}") from error
    return robot


def _open(robot: Any, options: So101Options, calibration: Path) -> None:
    bus = robot.bus
    bus.connect(handshake=False)
    missing = [f"{name} ({motor.id})" for name, motor in bus.motors.items() if bus.ping(name, num_retry=2) is None]
    if missing:
        raise StationError(
            f"servos that do not answer on {options.port}: {', '.join(missing)}. Is the power supply in, is every cable "
            "between the servos? Ids are set by: lerobot-setup-motors --robot.type=so101_follower"
        )
    if not bus.is_calibrated:
        held = bus.read_calibration()
        wrong = [name for name, asked in robot.calibration.items() if _numbers(held[name]) != _numbers(asked)]
        if not options.write_calibration:
            raise StationError(
                f"the servos hold another calibration than {calibration} ({', '.join(wrong)}). If the file is right, say "
                f"write_calibration: true; otherwise: lerobot-calibrate --robot.type=so101_follower "
                f"--robot.port={options.port} --robot.id={calibration.stem} --robot.calibration_dir={calibration.parent}"
            )
        bus.disable_torque()
        bus.write_calibration(robot.calibration)
    for tries_left in (2, 1, 0):
        bus.disable_torque(num_retry=2)
        _stay(bus)
        try:
            robot.configure()  # switches the torque on; the goal is where the arm is
            break
        except ConnectionError:  # LeRobot asks once; a packet in a hundred gets lost on such a bus
            if not tries_left:
                raise


def _be_patient(port: Any, more_s: float) -> None:
    """Let servos take longer to answer than LeRobot does."""
    lerobots = port.setPacketTimeout

    def patiently(length: int) -> None:
        lerobots(length)
        port.packet_timeout += 1000 * more_s

    port.setPacketTimeout = patiently


def _numbers(calibration: Any) -> tuple[int, int, int]:
    return calibration.homing_offset, calibration.range_min, calibration.range_max


def _free(bus: Any) -> None:
    """Forget a transaction that was broken off: Feetech's SDK calls the port busy for ever, and old answers may lie in it."""
    bus.port_handler.is_using = False
    if bus.is_connected:
        with contextlib.suppress(Exception):  # unplugged: the next transaction says so
            bus.port_handler.ser.reset_input_buffer()


def _stay(bus: Any) -> None:
    """Make the present position the goal: a servo runs to an old one as soon as it gets power.

    Raises:
        StationError: they do not hold the goal that they were sent.
        ConnectionError: they do not answer.
    """
    here = bus.sync_read("Present_Position", normalize=False, num_retry=5)
    ends = {name: (joint.range_min, joint.range_max) for name, joint in bus.calibration.items()}
    wrong = ""
    for _ in range(TRIES):
        bus.sync_write("Goal_Position", here, normalize=False)
        goal = bus.sync_read("Goal_Position", normalize=False, num_retry=2)
        taken = {name: (at, min(max(at, ends[name][0]), ends[name][1])) for name, at in here.items()}
        wrong = ", ".join(
            f"{name} {goal[name]} instead of {at}"
            for name, at in here.items()
            if goal[name] not in taken[name] or abs(goal[name] - at) > BEYOND_steps
        )
        if not wrong:
            return
    raise StationError(
        f"servos took no goal where they stand, in {TRIES} tries ({wrong}). Look at the cables between the servos; is a "
        "joint beyond its calibrated range?"
    )


def _let_go(bus: Any, tries: int = 1) -> None:
    """Torque off by one packet to all servos, and read back.

    Raises:
        ConnectionError: a servo does not answer, or still has torque.
    """
    for left in reversed(range(tries)):
        try:
            bus.sync_write("Torque_Enable", 0)
            torque = bus.sync_read("Torque_Enable", num_retry=1)
            still = ", ".join(f"{name} ({bus.motors[name].id})" for name, on in torque.items() if on)
            if still:
                raise ConnectionError(f"servos that still have torque: {still}")
            return
        except ConnectionError:
            if not left:
                raise


def _off(robot: Any, options: So101Options) -> None:
    """One try; the e-stop tries again."""
    _free(robot.bus)
    if options.estop == "power_off":
        _let_go(robot.bus)
    else:
        _stay(robot.bus)


def _on(robot: Any) -> None:
    _free(robot.bus)
    _stay(robot.bus)
    robot.bus.enable_torque(num_retry=3)


def _close(robot: Any, options: So101Options) -> None:
    """LeRobot lets go servo by servo and stops at the first that complains; so all of them are told first."""
    if not robot.bus.is_connected:
        return
    with contextlib.ExitStack() as last:
        last.callback(_shut, robot)
        last.callback(robot.disconnect)
        _free(robot.bus)
        if options.torque_off_on_close:
            _let_go(robot.bus, TRIES)


def _shut(robot: Any) -> None:
    """Close the port; the servos are left as they are."""
    if robot.bus.is_connected:
        robot.bus.port_handler.closePort()
