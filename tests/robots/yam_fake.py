"""YAM arms without metal: an emulated chain of motors under the real plugin, and a fake of the plugin's API (0.1.2)."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from types import ModuleType, SimpleNamespace
from typing import Any, ClassVar

import numpy as np

NAMES = ("shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll", "wrist_yaw", "gripper")
LIMITS_rad = {
    "shoulder_pan": (-2.767, 3.28), "shoulder_lift": (-0.15, 3.8), "elbow_flex": (-0.15, 3.28),
    "wrist_flex": (-1.72, 1.72), "wrist_roll": (-1.72, 1.72), "wrist_yaw": (-2.24, 2.24),
}  # fmt: skip
START_rad = np.array([0.0, 1.0, 1.0, 0.0, 0.0, 0.0])
SPEED_rad_per_s = 3.0


class FakeChain:
    """Stands for `yam_common.dm.DMChainCanInterface`: motors that run to their command while they have stiffness."""

    made: ClassVar[list[FakeChain]] = []

    def __init__(self, motor_list: list[Any], **_: Any) -> None:
        self.size = len(motor_list)
        self.pos = np.append(START_rad, -1.35)[: self.size]
        self.stiff = np.zeros(self.size)
        self.running, self.start_thread_flag, self.closed = True, False, False
        self._moved_s = time.monotonic()
        FakeChain.made.append(self)

    def __len__(self) -> int:
        return self.size

    def start_thread(self) -> None: ...

    def read_states(self) -> list[Any]:
        return [
            SimpleNamespace(id=i, error_code=1, pos=p, vel=0.0, eff=0.1 * (i + 1), temp_mos=30.0, temp_rotor=30.0)
            for i, p in enumerate(self.pos)
        ]

    def set_commands(
        self, torques: Any, pos: Any = None, vel: Any = None, kp: Any = None, kd: Any = None, get_state: bool = True
    ) -> list[Any]:
        now = time.monotonic()
        reach, self._moved_s = SPEED_rad_per_s * (now - self._moved_s), now
        self.stiff = np.array(kp)
        self.pos = self.pos + np.clip(np.array(pos) - self.pos, -reach, reach) * (self.stiff > 0)
        return self.read_states()

    def close(self, disable_motors: bool = True) -> None:
        self.closed = True


@dataclass
class YAMFollowerRobotConfig:
    id: str = ""
    port: str = "can0"
    gripper_type: str = "crank_4310"
    joint_limits: dict[str, tuple[float, float]] = field(default_factory=lambda: dict(LIMITS_rad))
    gripper_limits: tuple[float, float] = (0.0, -2.7)
    kp_gains: dict[str, float] = field(default_factory=lambda: dict.fromkeys(NAMES, 20.0))
    kd_gains: dict[str, float] = field(default_factory=lambda: dict.fromkeys(NAMES, 0.5))
    zero_gravity_mode: bool = True
    shutdown_zero_gravity_wait_for_enter: bool = True
    limit_gripper_force: float = 50.0
    lerobot_max_step: float = 5.0
    lerobot_gripper_max_step: float = 5.0


class YAMFollower:
    """The plugin's methods, their units and their order; `dead` has no answer, and `deaf` no longer takes orders."""

    made: ClassVar[list[YAMFollower]] = []
    dead: ClassVar[set[str]] = set()

    def __init__(self, config: YAMFollowerRobotConfig) -> None:
        self.config, self.is_connected, self.chain = config, False, FakeChain(list(range(7)))
        self._target, self._kp = np.zeros(7), np.ones(7)
        self._powered = False
        self.deaf = False
        YAMFollower.made.append(self)

    def connect(self, calibrate: bool = True) -> None:
        if self.config.port in self.dead:
            raise OSError(97, "Address family not supported by protocol")
        self.is_connected = True
        if not self.config.zero_gravity_mode:
            self.command_joint_pos(self.get_joint_pos())

    def _run(self) -> None:
        motors = self._target.copy()
        motors[6] = -2.7 * (1 - motors[6])
        self.chain.set_commands(np.zeros(7), pos=motors, kp=self._kp * self._powered)

    def get_joint_pos(self) -> Any:
        self._run()
        return np.append(self.chain.pos[:6], 1 + self.chain.pos[6] / 2.7)

    def command_joint_pos(self, joint_pos: Any) -> None:
        self._target, self._powered = np.array(joint_pos), True
        self._run()

    def get_observation(self) -> dict[str, float]:
        here, out = self.get_joint_pos(), {}
        for name, value in zip(NAMES[:6], here, strict=False):
            low, high = self.config.joint_limits[name]
            out[f"{name}.pos"] = float(200 * np.clip((value - low) / (high - low), 0, 1) - 100)
        return {**out, "gripper.pos": float(100 * np.clip(here[6], 0, 1))}

    def send_action(self, action: dict[str, float]) -> dict[str, float]:
        now, done, target = self.get_observation(), {}, np.zeros(7)
        for i, name in enumerate(NAMES):
            key, gripper = f"{name}.pos", name == "gripper"
            most = self.config.lerobot_gripper_max_step if gripper else self.config.lerobot_max_step
            done[key] = now[key] + float(np.clip(action[key] - now[key], -most, most))
            low, high = (0.0, 1.0) if gripper else self.config.joint_limits[name]
            target[i] = low + (high - low) * (done[key] / 100 if gripper else (done[key] + 100) / 200)
        self.command_joint_pos(target)
        return done

    def get_observations(self) -> dict[str, Any]:
        return {"joint_pos": self.get_joint_pos()[:6], "joint_vel": np.zeros(7), "joint_eff": 0.1 * np.arange(1, 8)}

    def zero_torque_mode(self) -> None:
        if self.deaf:
            raise RuntimeError("control loop is not running")
        self._powered, self._kp = False, np.zeros(7)
        self._run()

    def set_position_control_mode(self) -> None:
        self._kp = np.ones(7)

    def disconnect(self) -> None:
        self.zero_torque_mode()
        if self.config.shutdown_zero_gravity_wait_for_enter:
            input()
        self.is_connected = False


def module() -> ModuleType:
    """A stand-in for the package `lerobot_robot_yam`."""
    plugin = ModuleType("lerobot_robot_yam")
    plugin.YAMFollower, plugin.YAMFollowerRobotConfig = YAMFollower, YAMFollowerRobotConfig  # type: ignore[attr-defined]
    return plugin
