"""A station in the caller's own process: any `World`, no server, no pacing, no sockets. For tests and Gymnasium.

It keeps the promises that tests rely on: lease before control, finite actions of the right shape within limits, too
large steps clamped and flagged, one observation per action, both clocks. `faults` scripts what goes wrong.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from nightlab.contracts import Frame, Lease, Observation, Values, World
from nightlab.errors import LeaseError, SafetyError, StationError
from nightlab.records import Clock, LimitsSpec, StationSpec, StepFlags


@dataclass(slots=True)
class Faults:
    """What goes wrong, by name; change it at any time."""

    black_camera: bool = False
    frozen_camera: bool = False
    """The first frame is given again and again: same counter, same picture."""
    stale_pictures: bool = False
    """The counter runs, the picture is the first one."""
    teleport_misses: int = 0
    """So many teleports do nothing."""
    dead: str = ""
    """Every call raises StationError with this text."""


@dataclass(slots=True)
class FakeLease:
    """Sole control of a FakeStation."""

    station: FakeStation
    holder: str
    limits: LimitsSpec
    token: str = "fake"

    async def release(self) -> None:
        """Give control back."""
        if self.station.holder is self:
            self.station.holder = None


@dataclass(slots=True)
class SessionStats:
    """What one control stream did."""

    steps: int = 0
    late: int = 0
    clamped: int = 0
    control_wall_s: float = 0.0
    begin: Clock | None = None
    end: Clock | None = None


class FakeStation:
    """Implements `Station`, `SimulatorAdmin` and, by `control`, `ControlSession` over a `World`."""

    def __init__(self, world: World, *, station_id: str = "fake-1", simulated: bool = True) -> None:
        self.world = world
        self.faults = Faults()
        self.holder: FakeLease | None = None
        self.calls: list[str] = []
        """Names of the calls made, in order."""
        self._spec = world.spec(station_id, 0.0).model_copy(update={"simulated": simulated})
        self._period_s = 1.0 / self._spec.rate_hz
        self._ticks = 0
        self._frame_seq = 0
        self._first_frame: Frame | None = None

    def _enter(self, call: str) -> None:
        self.calls.append(call)
        if self.faults.dead:
            raise StationError(self.faults.dead)

    def _clock(self) -> Clock:
        return Clock(wall_s=time.time(), station_s=self._ticks * self._period_s)

    def _observe(self, executed: Values | None = None, flags: StepFlags | None = None) -> Observation:
        values = self.world.observe()
        return Observation(self._ticks, self._clock(), values, dict(executed or {}), flags or StepFlags())

    def _check(self, lease: Lease) -> FakeLease:
        if self.holder is None or self.holder is not lease:
            raise LeaseError(f"this lease of {self._spec.station_id} was given back; take one with lease()")
        return self.holder

    async def describe(self) -> StationSpec:
        """The world's spec at speed 0 (max)."""
        self._enter("describe")
        return self._spec

    async def clock(self) -> Clock:
        """Both clocks; the station's advances by one period per control period only."""
        return self._clock()

    async def lease(self, holder: str, limits: LimitsSpec, ttl_s: float = 5.0) -> FakeLease:
        """Sole control, at once. Raises LeaseError when taken: nobody else runs in this process to give it back."""
        self._enter("lease")
        if self.holder is not None:
            raise LeaseError(f"{self._spec.station_id} is held by {self.holder.holder}")
        self.holder = FakeLease(self, holder, limits)
        return self.holder

    async def observe(self) -> Observation:
        """What the sensors say now."""
        self._enter("observe")
        return self._observe()

    @asynccontextmanager
    async def control(self, lease: Lease, label: str = "") -> AsyncIterator[FakeSession]:
        """A control stream."""
        self._enter("control")
        yield FakeSession(self, self._check(lease), label)

    async def move_to_pose(self, lease: Lease, pose: Sequence[float], *, arm: str = "") -> Observation:
        """Step the world towards `pose` (the first action channel) for 20 control periods."""
        self._enter("move_to_pose")
        self._check(lease)
        action = {self._spec.actions[0].key: np.asarray(pose, dtype=np.float64)}
        for _ in range(20):
            self.advance(action)
        return self._observe(action)

    async def home(self, lease: Lease) -> Observation:
        """Does nothing."""
        self._enter("home")
        self._check(lease)
        return self._observe()

    async def grasp(self, lease: Lease, *, width_m: float, force_N: float, arm: str = "") -> Observation:
        """No gripper."""
        raise self._unsupported("grasp")

    async def release(self, lease: Lease, *, arm: str = "") -> Observation:
        """No gripper."""
        raise self._unsupported("release")

    async def apply_force(
        self, lease: Lease, wrench: Sequence[float], *, duration_s: float, arm: str = ""
    ) -> Observation:
        """No force control."""
        raise self._unsupported("apply_force")

    def _unsupported(self, call: str) -> StationError:
        return StationError(f"{call} is not a primitive of {self._spec.station_id}; it has: home, move_to_pose")

    async def get_joint_states(self) -> Values:
        """The observation's values."""
        self._enter("get_joint_states")
        return self.world.observe()

    async def capture(self, camera: str) -> Frame:
        """A frame, as the scripted faults allow."""
        self._enter("capture")
        rgb = self.world.render(camera)
        render_depth = getattr(self.world, "render_depth", None)
        depth_m = None if render_depth is None else render_depth(camera)
        if self.faults.black_camera:
            rgb = np.zeros_like(rgb)
        if self._first_frame is not None and self.faults.frozen_camera:
            return self._first_frame
        if self._first_frame is not None and self.faults.stale_pictures:
            rgb = self._first_frame.rgb
        self._frame_seq += 1
        frame = Frame(camera, self._clock(), self._frame_seq, rgb, depth_m)
        self._first_frame = self._first_frame or frame
        return frame

    async def estop(self, reason: str) -> None:
        """Every later call fails."""
        self.faults.dead = f"{self._spec.station_id} was stopped: {reason}"

    async def teleport(self, start: Mapping[str, float], episode_seed: int) -> None:
        """SimulatorAdmin: put the world at a start."""
        self._enter("teleport")
        if self.faults.teleport_misses > 0:
            self.faults.teleport_misses -= 1
            return
        self.world.teleport(start, episode_seed)
        self._ticks += 1

    async def truth(self) -> Mapping[str, float]:
        """SimulatorAdmin: the true state."""
        return self.world.truth()

    def advance(self, action: Values) -> None:
        """Run the world for one control period."""
        self.world.step(action)
        self._ticks += 1


@dataclass(slots=True)
class FakeSession:
    """Implements `ControlSession`."""

    station: FakeStation
    lease: FakeLease
    label: str = ""
    stats: SessionStats = field(default_factory=SessionStats)

    async def step(self, chunk: Sequence[Values], *, film: bool = False) -> list[Observation]:
        """Check the whole chunk, then run it."""
        self.station._enter("step")
        self.station._check(self.lease)
        for action in chunk:
            self._refuse(action)
        out = []
        for action in chunk:
            executed, clamped = self._clamp(action)
            self.station.advance(executed)
            self.stats.steps += 1
            self.stats.clamped += clamped
            reason = "step too large" if clamped else ""
            out.append(self.station._observe(executed, StepFlags(clamped=clamped, reason=reason)))
        return out

    async def hold(self) -> Observation:
        """One control period with the present target."""
        self.station._enter("hold")
        action = self.station.world.hold_action()
        self.station.advance(action)
        return self.station._observe(action)

    def _refuse(self, action: Values) -> None:
        limits = self.lease.limits
        if set(action) != set(limits.action_low):
            raise SafetyError(f"action has the keys {sorted(action)}; expected: {', '.join(sorted(limits.action_low))}")
        for key, value in action.items():
            given, low, high = np.asarray(value), np.array(limits.action_low[key]), np.array(limits.action_high[key])
            if given.shape != low.shape:
                raise SafetyError(f"action {key} has shape {given.shape}; expected: {low.shape}")
            if not np.all(np.isfinite(given)) or np.any(given < low) or np.any(given > high):
                raise SafetyError(f"action {key} = {given.tolist()} is outside {low.tolist()}..{high.tolist()}")

    def _clamp(self, action: Values) -> tuple[dict[str, NDArray[np.float64]], bool]:
        before = self.station.world.hold_action()
        out, clamped = {}, False
        for key, value in action.items():
            wanted = np.asarray(value, dtype=np.float64)
            reach = np.array(self.lease.limits.max_step.get(key, (np.inf,) * wanted.size))
            out[key] = np.clip(wanted, before[key] - reach, before[key] + reach)
            clamped = clamped or bool(np.any(out[key] != wanted))
        return out, clamped
