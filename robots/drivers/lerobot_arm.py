"""A LeRobot robot behind a station server. `so101`, `yam` and `lerobot` are this, each with its own way in and out.

One lock guards the robot: the control thread uses it, and an e-stop may come at any time from any thread. From the
instant of the e-stop no command is sent; the power goes off as soon as the bus is free, at the latest when the
transaction that is under way ends. An e-stop that is repeated says whether it did.

A robot may rest outside its limits. Its target then is where it is, and a target may lie outside too, but not farther
outside than the last one: holding moves nothing, and `home` brings it inside step by step.

`move_to_pose` takes joint targets, `home` goes to `home:` of station.yaml or to where the arm was when the server
started, brought inside its limits; both move all joints together, at half of the allowed speed. `grasp` closes the jaws
until something is between them; how hard they press is the servo's own limit, which the driver's documentation states.
"""

from __future__ import annotations

import builtins
import math
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from nightlab.contracts import Values
from nightlab.errors import NightlabError, StationError
from nightlab.records import CameraSpec, StationSpec
from robots.driver import Primitive, unsupported
from robots.drivers.joints import Floats, Joints, flat, limits_of
from robots.drivers.scaling import square

LOCK_s: Final = 0.02
"""Longest that an e-stop waits for the bus; whoever has it cuts the power when it is done."""
CUT_TRIES: Final = 3
REACHED: Final = 0.03
"""A joint has arrived within this share of its range."""
PATIENCE_s: Final = 3.0
BLOCKED: Final = 0.06
"""Jaws that lag their target by this share of their range have something between them."""
SQUEEZE: Final = 0.04
"""How far beyond the contact the jaws' target then stays, as a share of their range."""


class Robot(Protocol):
    """What is used of `lerobot.robots.Robot`."""

    def get_observation(self) -> dict[str, Any]: ...
    def send_action(self, action: dict[str, float]) -> dict[str, float]: ...


@dataclass(frozen=True, slots=True)
class Power:
    """How a robot is switched: called with the bus to themselves."""

    off: Callable[[], None]
    """No joint is driven any more; raises if that is not sure. Called again, it tries again."""
    on: Callable[[], None]
    """Joints are driven again, from where they are."""
    close: Callable[[], None]
    """The server stops: leave the robot safe, free its ports."""
    broken: Callable[[], None] = lambda: None
    """A transaction was broken off by an error: make the port usable again."""


@dataclass(frozen=True, slots=True)
class Arm:
    """What makes a robot a station."""

    kind: str
    rate_hz: float
    joints: Sequence[Joints]
    fix: str
    """What a person should do when the robot does not answer."""
    grippers: Mapping[str, str] = field(default_factory=dict)
    """Arm → action channel of its gripper, one number; larger is wider."""
    opening_m: float = 0.1
    """Width of an open gripper."""
    arms: Mapping[str, str] = field(default_factory=lambda: {"": ""})
    """Arm → action channel that `move_to_pose` sets."""
    home: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    cameras: tuple[CameraSpec, ...] = ()
    """The robot's own, by their key in its observation."""
    more: Callable[[], dict[str, Floats]] | None = None
    """What else `joint_states` gives, e.g. speeds and torques."""


class LeRobotArm:
    """Implements `robots.driver.Driver`. Cameras of `station.yaml` are put beside it.

    Args:
        station_id: e.g. `robot-1`.
        robot: connected already.
        arm: its joints and ways.
        power: its switch.

    Raises:
        StationError: it does not answer.
    """

    def __init__(self, station_id: str, robot: Robot, arm: Arm, power: Power) -> None:
        self._robot, self._arm, self._power = robot, arm, power
        self._lock = threading.RLock()
        self._stopped = ""
        self._cut = False
        self._closed = False
        self._seen: dict[str, Floats] = {}
        self._seen_s = -math.inf
        self.raw: dict[str, Any] = {}
        """LeRobot's latest observation, pictures included."""
        channels = [group.channels() for group in arm.joints]
        self._spec = StationSpec(
            station_id=station_id, kind=arm.kind, rate_hz=arm.rate_hz, speed=1.0, simulated=False,
            observations=tuple(seen for seen, _ in channels), actions=tuple(action for _, action in channels),
            limits=limits_of(arm.joints), cameras=arm.cameras,
        )  # fmt: skip
        self._target = self._where()
        self._home = {group.action: np.clip(self._target[group.action], group.low, group.high) for group in arm.joints}
        for key, value in arm.home.items():
            if key not in self._home or len(value) != self._home[key].size:
                wanted = ", ".join(f"{name} ({old.size} numbers)" for name, old in self._home.items())
                raise StationError(f"home: {key} with {len(value)} numbers; this robot has: {wanted}")
            self._home[key] = np.array(value, dtype=np.float64)

    def spec(self) -> StationSpec:
        return self._spec

    @property
    def grippers(self) -> tuple[str, ...]:
        """Arms that have a gripper."""
        return tuple(self._arm.grippers)

    def step(self, action: Values) -> None:
        """Send one target. Raises SafetyError outside the limits, StationError if the robot does not answer."""
        wanted = flat(self._arm.joints, action, self._target)
        with self._bus("command"):
            self._robot.send_action(wanted)
            self._target = {group.action: np.array(action[group.action], dtype=float) for group in self._arm.joints}

    def observe(self) -> dict[str, NDArray[np.float64]]:
        """Where the joints are; read at most five times in a control period."""
        if time.monotonic() - self._seen_s > 0.2 / self._arm.rate_hz:
            with self._bus("read"):
                self.raw = self._robot.get_observation()
                self._seen = {group.observation: group.read(self.raw) for group in self._arm.joints}
                self._seen_s = time.monotonic()
        return {key: value.copy() for key, value in self._seen.items()}

    def hold_action(self) -> dict[str, NDArray[np.float64]]:
        """The latest target; where the robot is, before the first and after an e-stop."""
        return {key: value.copy() for key, value in self._target.items()}

    def joint_states(self) -> dict[str, NDArray[np.float64]]:
        """The positions of `observe`, and speeds and torques where the robot measures them."""
        states = self.observe()
        if self._arm.more is not None:
            with self._bus("read"):
                states.update(self._arm.more())
        return states

    def render(self, camera: str, size_px: int | None = None) -> NDArray[np.uint8]:
        """The robot's own picture of the latest observation. Raises StationError for a camera that it does not have."""
        known = [spec.key for spec in self._arm.cameras]
        if camera not in known:
            raise StationError(f"no camera {camera!r} at this station; there is: {', '.join(known) or 'none'}")
        self.observe()
        return square(np.asarray(self.raw[camera], dtype=np.uint8), size_px)

    def render_depth(self, camera: str) -> NDArray[np.float32] | None:
        return None

    def primitive(self, request: Primitive) -> Iterator[Values]:
        """See the module. Raises StationError: no such primitive, arm, or numbers that do not fit."""
        arm, known = self._arm, ["move_to_pose", "home"] + (["grasp", "release"] if self._arm.grippers else [])
        if request.name not in known:
            raise unsupported(arm.kind, request.name, tuple(known))
        if request.name == "home":
            return self._move(self._home)
        names = arm.grippers if request.name in ("grasp", "release") else arm.arms
        if request.arm not in names:
            raise StationError(f"no arm {request.arm!r} at this station; there is: {', '.join(map(repr, names))}")
        group = next(group for group in arm.joints if group.action == names[request.arm])
        if request.name == "move_to_pose":
            if len(request.pose) != len(group.keys):
                raise StationError(
                    f"move_to_pose takes {len(group.keys)} joint targets in {group.unit} ({', '.join(group.keys)}), "
                    f"got {len(request.pose)}"
                )
            return self._move({group.action: np.array(request.pose, dtype=np.float64)})
        if request.name == "release":
            return self._move({group.action: group.high})
        if not 0 <= request.width_m <= arm.opening_m:
            raise StationError(f"grasp of {request.width_m:g} m: these jaws open 0 to {arm.opening_m:g} m")
        return self._grasp(group, request.width_m / arm.opening_m)

    def stop(self, reason: str) -> None:
        """No command from now on; power off as soon as the bus is free. Repeat it to learn whether it is off.

        Raises:
            StationError: the power is not off: switching it off failed, or (repeated) the bus is still busy.
        """
        first, self._stopped = not self._stopped, self._stopped or reason or "no reason given"
        if self._cut or self._closed:
            return
        if not self._lock.acquire(timeout=LOCK_s):
            if first:
                return  # whoever has the bus cuts the power when its transaction ends
            raise StationError(
                f"power not cut: the bus is busy, the {self._arm.kind} robot has not answered yet; cut it by hand"
            )
        try:
            failed = self._cut_power()
        finally:
            self._lock.release()
        if failed:
            raise StationError(f"power not cut: {failed}; cut it by hand")

    def clear(self) -> None:
        """Power on again, from where the robot is. Raises StationError if it cannot; then it is stopped as before."""
        with self._lock:
            reason, self._stopped, self._cut = self._stopped, "", False
            try:
                with self._bus("switch on"):
                    self._power.on()
                self._seen_s = -math.inf
                self._target = self._where()
            except BaseException:
                self._stopped = self._stopped or reason or "it cannot be switched on"
                self._cut_power()
                raise

    def close(self) -> None:
        """Leave the robot safe and free its ports. Idempotent."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            try:
                self._power.close()
            except Exception as error:
                print(f"closing: {_line(error)}", file=sys.stderr, flush=True)

    def _where(self) -> dict[str, Floats]:
        seen = self.observe()
        return {group.action: seen[group.observation] for group in self._arm.joints}

    @contextmanager
    def _bus(self, what: str) -> Iterator[None]:
        with self._lock:
            try:
                if self._closed:
                    raise StationError(f"cannot {what}: the station is closed")
                if self._stopped and what == "command":
                    raise StationError(f"e-stop: {self._stopped}; nothing is sent")
                yield
            except NightlabError:
                raise
            except Exception as error:
                self._power.broken()
                raise StationError(
                    f"cannot {what} the {self._arm.kind} robot: {_line(error)}. {self._arm.fix}"
                ) from error
            finally:
                if self._stopped:
                    self._cut_power()  # the e-stop is repeated, and then says whether this succeeded

    def _cut_power(self) -> str:
        """Cut it unless it is cut; why that failed, or nothing."""
        failed = ""
        for _ in range(CUT_TRIES):
            if self._cut or self._closed:
                return ""
            try:
                self._power.off()
                self._cut = True
            except Exception as error:
                self._power.broken()
                failed = _line(error)
        return "" if self._cut else failed

    def _move(self, goals: Mapping[str, Floats]) -> Iterator[Values]:
        groups = [group for group in self._arm.joints if group.action in goals]
        for group in groups:
            group.check(goals[group.action])
        patience = round(PATIENCE_s * self._arm.rate_hz)
        while True:
            action = self.hold_action()
            ahead = {group.action: goals[group.action] - action[group.action] for group in groups}
            with np.errstate(divide="ignore", invalid="ignore"):
                periods = max(
                    float(np.nan_to_num(np.abs(ahead[group.action]) / (group.max_step / 2), posinf=0.0).max())
                    for group in groups
                )
            for group in groups:
                action[group.action] = action[group.action] + ahead[group.action] / max(1.0, periods)
            if periods == 0:
                patience -= 1
                off = [self._off(group, goals[group.action]) for group in groups]
                if all(share <= REACHED for share, _ in off):
                    return
                if patience <= 0:
                    share, key = max(off)
                    raise StationError(
                        f"the robot did not get there: {key} is {100 * share:.0f} % of its range off after "
                        f"{PATIENCE_s:g} s; something is in the way, or it is too heavy"
                    )
            yield action

    def _off(self, group: Joints, goal: Floats) -> tuple[float, str]:
        """The largest distance from the goal as a share of the joint's range, and whose it is."""
        share = np.abs(self.observe()[group.observation] - goal) / np.maximum(group.high - group.low, 1e-9)
        return float(share.max()), group.keys[int(share.argmax())]

    def _grasp(self, group: Joints, share: float) -> Iterator[Values]:
        width = group.high - group.low
        goal = group.low + share * width
        for action in self._move_blindly(group, goal):
            yield action
            measured = self.observe()[group.observation]
            if float(((measured - action[group.action]) / width).max()) > BLOCKED:
                held = np.clip(measured - SQUEEZE * width, group.low, group.high)
                yield {**self.hold_action(), group.action: held}
                return

    def _move_blindly(self, group: Joints, goal: Floats) -> Iterator[dict[str, Floats]]:
        for _ in range(round(PATIENCE_s * self._arm.rate_hz) + 2000):
            action = self.hold_action()
            ahead = goal - action[group.action]
            if self._off(group, goal)[0] <= REACHED and not ahead.any():
                return
            action[group.action] = action[group.action] + np.clip(ahead, -group.max_step / 2, group.max_step / 2)
            yield action
        raise StationError(f"grasp: {group.keys[0]} neither arrived nor met anything")


@contextmanager
def no_questions(what: str) -> Iterator[None]:
    """Whatever would ask at the terminal fails instead: a station server has nobody to answer.

    Raises:
        StationError: something asked.
    """

    def refuse(prompt: object = "", /) -> str:
        raise StationError(
            f"{what} asks at the terminal ({str(prompt).strip()!r}); calibrate it first: lerobot-calibrate"
        )

    ask, builtins.input = builtins.input, refuse
    try:
        yield
    finally:
        builtins.input = ask


def _line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
