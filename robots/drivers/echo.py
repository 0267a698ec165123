"""Driver `echo`: a robot without physics, whose joints are where they were told to be one period later.

For measuring the control loop, for trying a `station.yaml` and its limits, and for the tests of the safety layer. Action
`target` (n,) rad; observation `state` (n,) rad and `tool` (3,): a point (the first three joints, m), `wrench` (6,): what
`press_N` makes it feel in z (N, Nm); joint channel `joint` (n,) rad.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, ValidationError

from nightlab.contracts import Values
from nightlab.errors import StationError, UsageError
from nightlab.records import CellConfig, Channel, LimitsSpec, StationSpec
from nightlab.records.base import Record
from robots.cell_config import why
from robots.driver import Primitive, unsupported

KNOWN = ("move_to_pose", "home")


class EchoConfig(Record):
    """The `config` section of `station.yaml`."""

    joints: int = Field(default=6, ge=3, le=64)
    range_rad: float = Field(default=3.0, gt=0)
    max_step_rad: float = Field(default=0.1, gt=0)
    press_N: float = 0.0
    """Force that it feels in z."""
    speed: float = Field(default=1.0, ge=0, le=1000)
    """Station seconds per wall second; 0 = max."""


def make(config: Mapping[str, Any], cell: CellConfig) -> EchoDriver:
    """The driver of `station.yaml`. Raises UsageError for unknown settings."""
    try:
        return EchoDriver(cell.station, EchoConfig.model_validate(config), cell.rate_hz or 100.0)
    except ValidationError as error:
        raise UsageError(f"driver 'echo' of {cell.station}: {why(error)}") from error


class EchoDriver:
    """Implements `robots.driver.Driver`."""

    def __init__(self, station: str, config: EchoConfig, rate_hz: float) -> None:
        size, reach = config.joints, (config.range_rad,) * config.joints
        low = tuple(-value for value in reach)
        unit = ",".join(["rad"] * size)
        self._spec = StationSpec(
            station_id=station,
            kind="echo",
            rate_hz=rate_hz,
            speed=config.speed,
            simulated=True,
            observations=(
                Channel(key="state", shape=(size,), unit=unit, low=low, high=reach),
                Channel(key="tool", shape=(3,), unit="m,m,m", low=low[:3], high=reach[:3]),
                Channel(key="wrench", shape=(6,), unit="N,N,N,Nm,Nm,Nm", low=(-1e3,) * 6, high=(1e3,) * 6),
            ),
            actions=(Channel(key="target", shape=(size,), unit=unit, low=low, high=reach),),
            limits=LimitsSpec(
                action_low={"target": low},
                action_high={"target": reach},
                max_step={"target": (config.max_step_rad,) * size},
            ),
        )
        self.state: NDArray[np.float64] = np.zeros(size)
        self.press_N = config.press_N
        self.powered = True
        self.commands = 0
        self.last_command_s = 0.0
        """`time.monotonic()` of the latest command that was carried out."""
        self.lowest, self.highest = np.zeros(size), np.zeros(size)
        """How far each joint has been."""
        self._power = threading.Lock()

    def spec(self) -> StationSpec:
        return self._spec

    def step(self, action: Values) -> None:
        with self._power:
            if not self.powered:
                raise StationError("echo: the power is cut")
            self.state = np.array(action["target"], dtype=np.float64)
            self.commands += 1
            self.last_command_s = time.monotonic()
        np.minimum(self.lowest, self.state, out=self.lowest)
        np.maximum(self.highest, self.state, out=self.highest)

    def observe(self) -> dict[str, NDArray[np.float64]]:
        wrench = np.array([0.0, 0.0, self.press_N, 0.0, 0.0, 0.0])
        return {"state": self.state.copy(), "tool": self.state[:3].copy(), "wrench": wrench}

    def hold_action(self) -> dict[str, NDArray[np.float64]]:
        return {"target": self.state.copy()}

    def joint_states(self) -> dict[str, NDArray[np.float64]]:
        return {"joint": self.state.copy()}

    def render(self, camera: str, size_px: int | None = None) -> NDArray[np.uint8]:
        raise StationError(f"no camera {camera!r} at this station; there is: none")

    def render_depth(self, camera: str) -> NDArray[np.float32] | None:
        return None

    def primitive(self, request: Primitive) -> Iterator[Values]:
        """`home`: all joints at 0; `move_to_pose`: all joints, rad."""
        if request.name not in KNOWN:
            raise unsupported("echo", request.name, KNOWN)
        goal = np.zeros_like(self.state) if request.name == "home" else np.array(request.pose, dtype=np.float64)
        if goal.shape != self.state.shape:
            raise StationError(f"move_to_pose: an echo station of {self.state.size} joints takes as many numbers, rad")
        return self._glide(goal)

    def _glide(self, goal: NDArray[np.float64]) -> Iterator[Values]:
        step = self._spec.limits.max_step["target"][0]
        while float(np.abs(goal - self.state).max()) > 1e-9:
            yield {"target": self.state + np.clip(goal - self.state, -step, step)}

    def stop(self, reason: str) -> None:
        with self._power:
            self.powered = False

    def clear(self) -> None:
        self.powered = True
