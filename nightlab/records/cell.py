"""`station.yaml`: one robot cell, as the machine that it is wired to serves it. Read by the station server alone.

Nothing here crosses the wire: whoever leases the station can neither see nor widen it. Relative paths start at the
folder of the file. The reference with every field is docs/stations.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any, Self

from pydantic import Field, field_validator, model_validator

from nightlab.records.base import Record


class JointLimits(Record):
    """Limits of one channel of `joint_states()`, per joint, in that channel's unit (rad, m or px)."""

    hard_low: tuple[float, ...]
    """A measured position beyond hard cuts the power and latches the e-stop."""
    hard_high: tuple[float, ...]
    soft_low: tuple[float, ...]
    """A command beyond soft is refused; measured beyond soft, nothing but the way back is allowed."""
    soft_high: tuple[float, ...]
    max_velocity: tuple[float, ...] = ()
    """Unit per station second. Commands are shortened to it; measured above `OVERSHOOT` times it, the robot stops."""
    max_acceleration: tuple[float, ...] = ()
    """Unit per station second². Commands are shortened to it."""
    command: str = ""
    """Action channel that sets these joints as positions, element by element; empty: none does."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        size = len(self.hard_low)
        for name in ("hard_high", "soft_low", "soft_high", "max_velocity", "max_acceleration"):
            values = getattr(self, name)
            if len(values) != size and not (name.startswith("max_") and not values):
                raise ValueError(f"{name} has {len(values)} numbers, hard_low has {size}")
        for joint, row in enumerate(zip(self.hard_low, self.soft_low, self.soft_high, self.hard_high, strict=True)):
            if not all(a <= b for a, b in pairwise(row)) or not row[0] < row[3]:
                raise ValueError(f"joint {joint}: hard_low <= soft_low <= soft_high <= hard_high does not hold: {row}")
        for name in ("max_velocity", "max_acceleration"):
            if any(not value > 0 for value in getattr(self, name)):
                raise ValueError(f"{name} needs numbers above 0, got {getattr(self, name)}")
        return self


class WorkspaceBox(Record):
    """Where a tool centre point may be: a box in the station's frame. Measured outside, the robot stops."""

    low_m: tuple[float, float, float]
    high_m: tuple[float, float, float]
    command: str = ""
    """Action channel whose first three numbers set this point, m, same frame: commands outside are refused."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if not all(low < high for low, high in zip(self.low_m, self.high_m, strict=True)):
            raise ValueError(f"low_m {self.low_m} must be below high_m {self.high_m}")
        return self


class GripperCap(Record):
    """Most force of a gripper. `grasp` is cut down to it; measured above it, the robot stops."""

    max_force_N: float = Field(gt=0)
    channel: str = ""
    """Observation channel that measures the grip; empty: none does, and the driver alone must cap it."""
    element: int = 0
    """Which number of the channel is the force, N."""
    arm: str = ""


class SafetyConfig(Record):
    """The station's own limits, outside everybody's reach. Empty: those of the driver's spec alone."""

    action_low: dict[str, tuple[float, ...]] = {}
    """Narrower bounds of an action channel, in its unit."""
    action_high: dict[str, tuple[float, ...]] = {}
    max_step: dict[str, tuple[float, ...]] = {}
    """Largest change between two control periods, in the action's unit."""
    late_periods: int = Field(default=3, ge=1)
    joints: dict[str, JointLimits] = {}
    """By channel of `joint_states()`, e.g. `left_q`."""
    workspace: dict[str, WorkspaceBox] = {}
    """By observation channel whose first three numbers are a position, m, e.g. `left_tcp`."""
    max_torque_Nm: dict[str, tuple[float, ...]] = {}
    """By observation or joint channel of joint torques, Nm, absolute, per joint, e.g. `left_tau`."""
    max_force_N: dict[str, float] = {}
    """By observation channel whose first three numbers are a force, N: its norm, e.g. `left_wrench`."""
    max_moment_Nm: dict[str, float] = {}
    """By observation channel whose last three numbers are a moment, Nm: its norm."""
    grippers: tuple[GripperCap, ...] = ()


class TlsConfig(Record):
    """Mutual TLS: PEM files. `nightlab station keys` makes them."""

    ca: Path
    certificate: Path
    key: Path


class KeyboardHook(Record):
    """An e-stop key: one evdev device; any key press of `codes` stops (empty: any key at all)."""

    device: Path
    codes: tuple[int, ...] = ()


class GpioHook(Record):
    """An e-stop line (the mushroom button), read by libgpiod's `gpiomon`."""

    chip: str = "gpiochip0"
    line: int = Field(ge=0)
    normally_closed: bool = True
    """The button opens the circuit, so that a torn wire stops the robot too."""


class EstopConfig(Record):
    """E-stops on a path of their own: a small process beside the server, and the socket on which it is heard."""

    keyboard: KeyboardHook | None = None
    gpio: GpioHook | None = None
    silent_s: float = Field(default=0.5, gt=0)
    """A hook that is not heard for so long stops the robot."""


class CameraConfig(Record):
    """One camera."""

    driver: str
    """`realsense`, `opencv`, … see robots/drivers/__init__.py."""
    config: dict[str, Any] = {}


class CellConfig(Record):
    """`station.yaml`."""

    station: str = Field(min_length=1, pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")
    driver: str
    """`simulated`, `yam`, `so101`, `lerobot`, … see robots/drivers/__init__.py."""
    config: dict[str, Any] = {}
    """The driver's own settings; what they are stands in its module."""
    kind: str = ""
    """Stations of one kind can stand in for one another; empty: as the driver says."""
    rate_hz: float | None = Field(default=None, gt=0, le=1000)
    """Control rate; None: the driver's."""
    cameras: dict[str, CameraConfig] = {}
    home: dict[str, tuple[float, ...]] = {}
    """Home pose by action channel, in its unit; empty: the driver's. Reached when a lease lapses, and by `home`."""
    limits: SafetyConfig = SafetyConfig()
    address: str = "127.0.0.1:0"
    """`host:port` or `unix:/path`. Anything but loopback and Unix sockets needs `tls` and `tokens`."""
    tls: TlsConfig | None = None
    tokens: Path | None = None
    """Hashes of the tokens that may lease this station; `nightlab station keys` writes it."""
    estop: EstopConfig = EstopConfig()
    state_dir: Path = Path(".nightlab-station")
    """Where the latch and the e-stop socket live."""
    env: dict[str, str] = {}
    """Environment variables, set before the driver is loaded."""
    folder: Path = Field(default=Path(), exclude=True)
    """Where the file lies; set on reading."""

    @field_validator("env", mode="before")
    @classmethod
    def _as_text(cls, value: object) -> object:
        return {key: str(item) for key, item in value.items()} if isinstance(value, Mapping) else value

    def path(self, given: Path) -> Path:
        """A path of this file, absolute."""
        return given if given.is_absolute() else (self.folder / given).absolute()

    @property
    def loopback(self) -> bool:
        """Whether nobody but this machine can reach the address."""
        if self.address.startswith("unix:"):
            return True
        host = self.address.rpartition(":")[0].strip("[]")
        return host in ("localhost", "::1") or (host.startswith("127.") and host.count(".") == 3)
