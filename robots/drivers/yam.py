"""Driver `yam`: two YAM arms (or one) through the LeRobot plugin `lerobot_robot_yam`, each on its CAN bus.

    driver: yam
    config: {left: {port: can0}, right: {port: can1}}

Channels per arm: `left_joint_pos`, `left_joint_target` (6,) rad; `left_gripper_open`, `left_gripper_target` (1,),
0 closed to 1 open; `right_…` likewise. One arm alone has no prefix. Joint impedance with the plugin's gains; its step
clamp (`max_step_percent` of a joint's range per command) and its cap on the grip force stay on.

The plugin's wait for ENTER at shutdown (`shutdown_zero_gravity_wait_for_enter`, on by default: it would hang a server
for ever) is off. An e-stop either floats (`float`: no stiffness, gravity compensated, so the arm does not fall but can
be pushed) or holds where it is (`hold`). `joint_states` adds `left_joint_vel` rad/s and `left_joint_torque` Nm, (6,) each.
When the server stops, the plugin disables the motors: **the arms fall** unless they rest on something.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from nightlab.errors import StationError, UsageError
from nightlab.records import CellConfig, Record
from robots.drivers.joints import Joints
from robots.drivers.lerobot_arm import Arm, LeRobotArm, Power, no_questions
from robots.drivers.options import read_options

BODY: Final = ("shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll", "wrist_yaw")
GRIPPER: Final = "gripper"
CRANK: Final = "crank_4310"
INSTALL: Final = "Install it: pip install 'nightlab[yam]'"


class YamArmOptions(Record):
    """One arm."""

    port: str
    """CAN interface, e.g. can0."""
    gripper_type: Literal["crank_4310", "linear_3507", "linear_4310"] = CRANK
    gripper_limits_rad: tuple[float, float] | None = None
    """Angles of the gripper's motor when it is open and when it is closed. A linear gripper needs them: the plugin knows
    those of the crank alone, and measures none."""
    low_rad: dict[str, float] = Field(default_factory=dict)
    """Narrower limits of a joint, by name."""
    high_rad: dict[str, float] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _with_limits(self) -> Self:
        if self.gripper_type != CRANK and self.gripper_limits_rad is None:
            raise ValueError(
                f"{self.gripper_type} on {self.port} needs gripper_limits_rad: [open, closed], the angles of its motor"
            )
        return self


class YamOptions(Record):
    """The `config` section of driver `yam`."""

    left: YamArmOptions | None = None
    right: YamArmOptions | None = None
    margin_rad: float = Field(default=0.05, ge=0)
    """Kept from both ends of each joint's range."""
    max_speed_rad_per_s: float = Field(default=1.0, gt=0, le=5)
    gripper_max_speed_per_s: float = Field(default=2.0, gt=0, le=10)
    max_step_percent: float = Field(default=2.5, gt=0, le=10)
    """The plugin's own clamp: how far a command may be from where the joint is, of its range."""
    gripper_force_N: float = Field(default=20.0, gt=0, le=50)
    """The plugin's cap on the grip force."""
    opening_m: float = Field(default=0.09, gt=0)
    estop: Literal["float", "hold"] = "float"


def make(config: Mapping[str, Any], cell: CellConfig) -> LeRobotArm:
    """The driver of `station.yaml`.

    Raises:
        UsageError: settings that it does not take.
        StationError: the plugin is missing, no such CAN interface, an arm does not answer.
    """
    options = read_options(YamOptions, config, f"driver 'yam' of {cell.station}")
    asked = {side: arm for side, arm in (("left", options.left), ("right", options.right)) if arm is not None}
    if not asked:
        raise UsageError(f"driver 'yam' of {cell.station}: no arm; say config: {{left: {{port: can0}}}}")
    rate_hz = cell.rate_hz or 50.0
    robots: dict[str, Any] = {}
    joints: list[Joints] = []
    try:
        for side, arm in asked.items():
            prefix = f"{side}_" if len(asked) > 1 else ""
            robots[prefix] = robot = connect(arm, options, f"{cell.station}-{side}")
            joints += joints_of(prefix, robot.config.joint_limits, arm, options, rate_hz)
    except BaseException:
        with contextlib.suppress(StationError):  # the first error is the one to tell
            _close(robots)
        raise
    arms = {prefix.rstrip("_"): prefix for prefix in robots}
    return LeRobotArm(
        cell.station,
        Pair(robots),
        Arm(
            kind=cell.kind or ("yam_joints" if len(robots) == 1 else "yam_bimanual_joints"), rate_hz=rate_hz, joints=joints,
            grippers={arm: f"{prefix}gripper_target" for arm, prefix in arms.items()},
            arms={arm: f"{prefix}joint_target" for arm, prefix in arms.items()},
            opening_m=options.opening_m, home=cell.home, more=lambda: _more(robots),
            fix="Is its power on, is the CAN cable in? ip -details link show type can",
        ),
        Power(
            off=lambda: _off(robots, options.estop), on=lambda: _on(robots), close=lambda: _close(robots),
        ),
    )  # fmt: skip


class Pair:
    """Several arms as one LeRobot robot: each one's features with its prefix."""

    def __init__(self, robots: Mapping[str, Any]) -> None:
        self._robots = robots

    def get_observation(self) -> dict[str, Any]:
        return {prefix + key: value for prefix, robot in self._robots.items() for key, value in _seen(robot).items()}

    def send_action(self, action: dict[str, float]) -> dict[str, float]:
        sent: dict[str, float] = {}
        for prefix, robot in self._robots.items():
            keys = [f"{name}.pos" for name in (*BODY, GRIPPER)]
            done = robot.send_action({key: action[prefix + key] for key in keys})
            sent.update({prefix + key: value for key, value in done.items()})
        return sent


def joints_of(
    prefix: str, limits: Mapping[str, tuple[float, float]], arm: YamArmOptions, options: YamOptions, rate_hz: float
) -> tuple[Joints, Joints]:
    """Joints of one arm. The plugin gives them as -100 to 100 of `limits` (rad), the gripper as 0 to 100.

    Raises:
        UsageError: narrower limits that name no joint, or leave nothing.
    """
    unknown = (set(arm.low_rad) | set(arm.high_rad)) - set(BODY)
    if unknown:
        raise UsageError.unknown("joint", min(unknown), BODY, "low_rad: {elbow_flex: 0.3} in station.yaml")
    ends = np.array([limits[name] for name in BODY], dtype=np.float64)
    low = np.maximum(ends[:, 0] + options.margin_rad, [arm.low_rad.get(name, -np.inf) for name in BODY])
    high = np.minimum(ends[:, 1] - options.margin_rad, [arm.high_rad.get(name, np.inf) for name in BODY])
    if not (low < high).all():
        at = int(np.argmax(low >= high))
        raise UsageError(f"{BODY[at]}: its limits {low[at]:.2f} to {high[at]:.2f} rad leave nothing; lower margin_rad")
    which = f"the {prefix.rstrip('_')} arm" if prefix else "the arm"
    return (
        Joints(
            action=f"{prefix}joint_target", observation=f"{prefix}joint_pos",
            keys=tuple(f"{prefix}{name}.pos" for name in BODY), unit="rad",
            scale=(ends[:, 1] - ends[:, 0]) / 200, offset=ends.mean(axis=1), low=low, high=high,
            max_step=np.full(len(BODY), options.max_speed_rad_per_s / rate_hz), text=f"joint angles of {which}",
        ),
        Joints(
            action=f"{prefix}gripper_target", observation=f"{prefix}gripper_open", keys=(f"{prefix}{GRIPPER}.pos",),
            unit="1", scale=np.array([0.01]), offset=np.zeros(1), low=np.zeros(1), high=np.ones(1),
            max_step=np.array([options.gripper_max_speed_per_s / rate_hz]), text=f"opening of the jaws of {which}",
        ),
    )  # fmt: skip


def connect(arm: YamArmOptions, options: YamOptions, name: str) -> Any:
    """One arm, powered, holding nothing yet.

    Raises:
        StationError: see `make`.
    """
    try:
        from lerobot_robot_yam import YAMFollower, YAMFollowerRobotConfig
        from yam_common.utils import GripperType  # type: ignore[import-untyped]
    except ImportError as error:
        raise StationError(f"driver 'yam' needs the LeRobot plugin for YAM arms ({error}). {INSTALL}") from error
    there = interfaces()
    if arm.port not in there:
        raise StationError(
            f"no CAN interface {arm.port}; there is: {', '.join(there) or 'none'}. Plug the adapter in, then: "
            f"sudo ip link set {arm.port} up type can bitrate 1000000"
        )
    config = YAMFollowerRobotConfig(
        id=name, port=arm.port, gripper_type=arm.gripper_type, shutdown_zero_gravity_wait_for_enter=False,
        zero_gravity_mode=False, limit_gripper_force=options.gripper_force_N,
        lerobot_max_step=2 * options.max_step_percent, lerobot_gripper_max_step=10.0,
    )  # fmt: skip
    config.kp_gains[GRIPPER], config.kd_gains[GRIPPER] = GripperType.from_string(arm.gripper_type).get_motor_kp_kd()
    if arm.gripper_limits_rad is not None:
        config.gripper_limits = arm.gripper_limits_rad
    robot = YAMFollower(config)
    try:
        with no_questions(f"the YAM arm on {arm.port}"):
            robot.connect(calibrate=False)
    except StationError:
        raise
    except Exception as error:
        why = " ".join(str(error).split()) or type(error).__name__
        raise StationError(
            f"the YAM arm on {arm.port} does not answer: {why}. Is its power on, is the interface up? "
            f"sudo ip link set {arm.port} up type can bitrate 1000000"
        ) from error
    return robot


def interfaces() -> list[str]:
    """CAN interfaces of this machine."""
    return sorted(path.name for path in Path("/sys/class/net").glob("*can*"))


def _seen(robot: Any) -> dict[str, Any]:
    seen: dict[str, Any] = robot.get_observation()
    return seen


def _more(robots: Mapping[str, Any]) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for prefix, robot in robots.items():
        seen = robot.get_observations()
        out[f"{prefix}joint_vel"] = np.array(seen["joint_vel"][: len(BODY)], dtype=np.float64)
        out[f"{prefix}joint_torque"] = np.array(seen["joint_eff"][: len(BODY)], dtype=np.float64)
    return out


def _each(robots: Mapping[str, Any], act: Callable[[Any], None]) -> None:
    """Every arm gets its turn, whatever another one raises. Raises StationError afterwards: which arm, and why."""
    failed: list[str] = []
    for prefix, robot in robots.items():
        try:
            act(robot)
        except Exception as error:
            why = " ".join(str(error).split()) or type(error).__name__
            failed.append(f"the {prefix.rstrip('_')} arm: {why}" if prefix else f"the arm: {why}")
    if failed:
        raise StationError("; ".join(failed))


def _off(robots: Mapping[str, Any], how: str) -> None:
    _each(robots, _hold if how == "hold" else lambda robot: robot.zero_torque_mode())


def _hold(robot: Any) -> None:
    robot.command_joint_pos(robot.get_joint_pos().copy())


def _on(robots: Mapping[str, Any]) -> None:
    for robot in robots.values():
        robot.set_position_control_mode()  # floating has set its gains to nothing
        _hold(robot)


def _close(robots: Mapping[str, Any]) -> None:
    _each({prefix: robot for prefix, robot in robots.items() if robot.is_connected}, lambda robot: robot.disconnect())
