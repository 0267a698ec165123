"""Driver `lerobot`: any robot that is registered with LeRobot, plug-ins included, by LeRobot's own arguments.

    driver: lerobot
    config:
      args: [--robot.type=koch_follower, --robot.port=/dev/ttyACM0, --robot.id=koch]
      limits: {shoulder_pan.pos: [-90, 90], …}      # one per joint, in the robot's own unit: no limits, no robot
      max_step: {shoulder_pan.pos: 2, …}            # per control period

Channels: `position` and `target` (n,), the robot's number-valued features in their order and in its own unit. Its own
cameras are the station's. It must be calibrated already; whatever asks at the terminal fails.

LeRobot's `connect` switches the torque on, and a servo then runs to whatever goal it holds. Where the robot has one serial
bus (`robot.bus` of its Feetech and Dynamixel robots: SO-100, SO-101, Koch, …) the goal of every joint is made its present
position before that. Any other robot (two arms in one, CAN, plug-ins) comes up as LeRobot or its plug-in does it: stand clear.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping
from dataclasses import make_dataclass
from typing import Any

import numpy as np
from pydantic import Field

from nightlab.errors import StationError, UsageError
from nightlab.records import CameraSpec, CellConfig, Record
from robots.drivers.joints import Joints
from robots.drivers.lerobot_arm import Arm, LeRobotArm, Power, no_questions
from robots.drivers.options import read_options

PREFIX = "--robot."


class LeRobotOptions(Record):
    """The `config` section of driver `lerobot`."""

    args: tuple[str, ...]
    """`--robot.type=…` and whatever else LeRobot's tools take for it."""
    limits: dict[str, tuple[float, float]] = Field(default_factory=dict)
    """Lowest and highest target of each action feature."""
    max_step: dict[str, float] = Field(default_factory=dict)
    """Largest change of each target in one control period."""
    unit: str = ""
    """For the record; LeRobot does not know its robots' units."""
    estop: str = Field(default="hold", pattern="^(hold|disconnect)$")
    """LeRobot has no e-stop. `hold`: the target becomes where it is; `disconnect`: LeRobot's own way of letting go, after
    which the station must be started again."""


def make(config: Mapping[str, Any], cell: CellConfig) -> LeRobotArm:
    """The driver of `station.yaml`.

    Raises:
        UsageError: settings that it does not take, an unknown robot, a joint without limits.
        StationError: the robot cannot be connected. One line.
    """
    options = read_options(LeRobotOptions, config, f"driver 'lerobot' of {cell.station}")
    robot = build(options.args)
    rate_hz = cell.rate_hz or 30.0
    keys = tuple(key for key, kind in robot.action_features.items() if kind is float)
    joints = _joints(options, keys, robot.observation_features)
    connect(robot, options.args)
    cameras = tuple(
        CameraSpec(key=key, height_px=int(shape[0]), width_px=int(shape[1]), description="the robot's own")
        for key, shape in robot.observation_features.items()
        if isinstance(shape, tuple) and len(shape) == 3 and shape[2] == 3
    )
    arm = Arm(
        kind=cell.kind or str(robot.name), rate_hz=rate_hz, joints=(joints,), arms={"": "target"}, home=cell.home,
        cameras=cameras, fix="Look at its power supply and its cable",
    )  # fmt: skip
    return LeRobotArm(
        cell.station,
        robot,
        arm,
        Power(off=lambda: _off(robot, options.estop, keys), on=lambda: _on(robot), close=lambda: _close(robot)),
    )


def connect(robot: Any, args: tuple[str, ...]) -> None:
    """Connect a calibrated robot; where it has a serial bus, the goal of each joint is where it stands.

    Raises:
        StationError: it does not answer, is not calibrated, or asks at the terminal. It is disconnected then.
    """
    try:
        with no_questions(f"the robot {robot.name}"):
            _stay(robot, args)
            robot.connect(calibrate=False)
            _check_calibrated(robot, args)
    except BaseException as error:
        with contextlib.suppress(Exception):  # the first error is the one to tell
            _close(robot)
        if isinstance(error, StationError) or not isinstance(error, Exception):
            raise
        why = " ".join(str(error).split()) or type(error).__name__
        raise StationError(f"the robot {robot.name} cannot be connected: {why}. Try: lerobot-find-port") from error


def _stay(robot: Any, args: tuple[str, ...]) -> None:
    """Before the torque comes on: each joint's goal becomes its present position. Nothing if there is no serial bus."""
    from lerobot.motors.motors_bus import SerialMotorsBus

    bus = getattr(robot, "bus", None)
    if not isinstance(bus, SerialMotorsBus):
        return
    tables = [bus.model_ctrl_table[model] for model in bus.models]
    if not all("Goal_Position" in table and "Present_Position" in table for table in tables):
        return
    bus.connect()
    try:
        _check_calibrated(robot, args)
        for name in bus.motors:
            if f"{name}.pos" in robot.action_features:  # a wheel has no position to hold
                here = bus.read("Present_Position", name, normalize=False, num_retry=5)
                bus.write("Goal_Position", name, here, normalize=False, num_retry=5)
    finally:
        bus.disconnect(disable_torque=False)


def _check_calibrated(robot: Any, args: tuple[str, ...]) -> None:
    if not robot.is_calibrated:
        raise StationError(
            f"the robot {robot.name} is not calibrated; calibrate it: lerobot-calibrate {' '.join(args)}"
        )


def build(args: tuple[str, ...]) -> Any:
    """The robot of LeRobot's arguments, not connected.

    Raises:
        UsageError: no `--robot.type`, a type that is not registered, arguments that it does not take.
        StationError: a package that it needs is missing.
    """
    kinds = [arg.partition("=")[2] for arg in args if arg.startswith(f"{PREFIX}type=")]
    if len(kinds) != 1 or not all(arg.startswith(PREFIX) for arg in args):
        raise UsageError(f"args of driver 'lerobot' begin with {PREFIX}, one is {PREFIX}type=…; got: {' '.join(args)}")
    import draccus
    from lerobot.robots import RobotConfig, make_robot_from_config

    known = _register(kinds[0], [a.partition("=")[2] for a in args if a.startswith(f"{PREFIX}discover_packages_path=")])
    if kinds[0] not in known:
        raise UsageError.unknown("LeRobot robot", kinds[0], known, "install its plug-in, lerobot_robot_…")
    rest = [arg for arg in args if "discover_packages_path" not in arg]
    whole = make_dataclass("Whole", [("robot", RobotConfig)])  # draccus reads a choice as the field of something
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            wanted: Any = draccus.parse(config_class=whole, args=rest)
        return make_robot_from_config(wanted.robot)
    except (SystemExit, Exception) as error:
        lines = said.getvalue().strip().splitlines()
        said_last = lines[-1].rpartition("error: ")[2] if isinstance(error, SystemExit) and lines else str(error)
        why = " ".join(said_last.split())
        if isinstance(error, ImportError) or "install" in why:
            raise StationError(f"the LeRobot robot {kinds[0]!r} needs more: {why}") from error
        raise UsageError(f"the LeRobot robot {kinds[0]!r} does not take {' '.join(args)}: {why}") from error


def _register(kind: str, packages: list[str]) -> set[str]:
    """Import what registers robots: plug-ins, then LeRobot's own until the one asked for is known."""
    import pkgutil
    from importlib import import_module

    import lerobot.robots
    from lerobot.robots import RobotConfig
    from lerobot.utils.import_utils import register_third_party_plugins

    for package in packages:
        try:
            import_module(package)
        except ImportError as error:
            raise UsageError(f"{PREFIX}discover_packages_path={package}: {error}") from error
    register_third_party_plugins()
    own = [module.name for module in pkgutil.iter_modules(lerobot.robots.__path__) if module.ispkg]
    for name in sorted(own, key=lambda name: not kind.startswith(name.split("_")[0])):
        if kind in RobotConfig.get_known_choices():
            break
        with contextlib.suppress(Exception):  # one that lacks its own packages is not registered
            import_module(f"lerobot.robots.{name}")
    return set(RobotConfig.get_known_choices())


def _joints(options: LeRobotOptions, keys: tuple[str, ...], observed: Mapping[str, Any]) -> Joints:
    missing = [key for key in keys if key not in options.limits or key not in options.max_step]
    unknown = (set(options.limits) | set(options.max_step)) - set(keys)
    if missing or unknown or not keys:
        raise UsageError(
            f"driver 'lerobot': limits and max_step need exactly the joints {', '.join(keys) or '(none)'}; "
            f"missing: {', '.join(missing) or 'none'}; unknown: {', '.join(sorted(unknown)) or 'none'}"
        )
    unseen = [key for key in keys if observed.get(key) is not float]
    if unseen:
        raise UsageError(f"driver 'lerobot': this robot does not measure {', '.join(unseen)}, so nothing can hold it")
    low, high = np.array([options.limits[key] for key in keys], dtype=np.float64).T
    if not (low < high).all() or not all(options.max_step[key] > 0 for key in keys):
        raise UsageError("driver 'lerobot': limits need low < high, max_step a number above 0")
    return Joints(
        action="target", observation="position", keys=keys, unit=options.unit, scale=np.ones(len(keys)),
        offset=np.zeros(len(keys)), low=low, high=high, max_step=np.array([options.max_step[key] for key in keys]),
        text="the robot's own unit",
    )  # fmt: skip


def _off(robot: Any, how: str, keys: tuple[str, ...]) -> None:
    if how == "disconnect":
        if robot.is_connected:
            robot.disconnect()
        return
    here = robot.get_observation()
    robot.send_action({key: float(here[key]) for key in keys})


def _on(robot: Any) -> None:
    if not robot.is_connected:
        raise StationError("the e-stop disconnected it; look at the robot, then start the station again")


def _close(robot: Any) -> None:
    if robot.is_connected:
        robot.disconnect()
