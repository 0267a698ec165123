"""Every seam of nightlab, one screen each. Implementations inherit from nothing of ours.

Arrays are numpy; keys, shapes, units and bounds stand in the `StationSpec`. Station and environment methods are
coroutines: a rollout is one asyncio program. `environments/gym.py` adapts an environment to Gymnasium.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from nightlab.records import (
    Checkpoint,
    Clock,
    Event,
    LimitsSpec,
    Proposal,
    ProposalContext,
    ResetReport,
    StationSpec,
    StepFlags,
    Verdict,
)

Values = Mapping[str, NDArray[np.float64]]
"""Named float arrays: the channels of an observation or an action."""


@dataclass(frozen=True, slots=True)
class Observation:
    """What a station saw at one control tick."""

    seq: int
    clock: Clock
    values: Values
    executed: Values = field(default_factory=dict)
    """The action that really ran in the period before this tick (after the safety filter)."""
    flags: StepFlags = field(default_factory=StepFlags)
    image_jpeg: bytes | None = None
    """256 px JPEG of the first camera, at ticks where filming was asked for."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One lossless camera frame: uint8 [height, width, 3] RGB; depth float32 [height, width] metres or None."""

    camera: str
    clock: Clock
    seq: int
    rgb: NDArray[np.uint8]
    depth_m: NDArray[np.float32] | None = None


class ControlSession(Protocol):
    """One control stream: lockstep of action chunk in, observation out, at the station's own rate."""

    async def step(self, chunk: Sequence[Values], *, film: bool = False) -> list[Observation]:
        """Run a chunk of actions, one per control period; return one observation per action.

        Raises SafetyError if an action is NaN, of the wrong shape or outside the limits: the whole chunk is checked
        first and the robot holds. Raises LeaseError if the lease lapsed, StationError on a fault or e-stop.
        """
        ...

    async def hold(self) -> Observation:
        """Hold the present target for one control period."""
        ...


class Lease(Protocol):
    """Sole control of a station until released, or until its holder falls silent for `ttl_s`."""

    token: str

    async def release(self) -> None: ...


class Station(Protocol):
    """A robot cell, real or simulated. The primitives' names are ENPIRE's."""

    async def describe(self) -> StationSpec: ...
    async def lease(self, holder: str, limits: LimitsSpec, ttl_s: float = 5.0) -> Lease:
        """Wait, first come first served, for sole control within the intersection of the station's and these limits."""
        ...

    async def observe(self) -> Observation: ...
    def control(self, lease: Lease, label: str) -> AbstractAsyncContextManager[ControlSession]: ...
    async def move_to_pose(self, lease: Lease, pose: Sequence[float], *, arm: str = "") -> Observation: ...
    async def home(self, lease: Lease) -> Observation: ...
    async def grasp(self, lease: Lease, *, width_m: float, force_N: float, arm: str = "") -> Observation: ...
    async def release(self, lease: Lease, *, arm: str = "") -> Observation: ...
    async def apply_force(
        self, lease: Lease, wrench: Sequence[float], *, duration_s: float, arm: str = ""
    ) -> Observation: ...
    async def get_joint_states(self) -> Values: ...
    async def capture(self, camera: str) -> Frame: ...
    async def estop(self, reason: str) -> None: ...


class SimulatorAdmin(Protocol):
    """Teleport and ground truth of a simulated station; its own Unix socket, for reset and the verifier workbench only."""

    async def teleport(self, start: Mapping[str, float], episode_seed: int) -> None: ...
    async def truth(self) -> Mapping[str, float]: ...


class World(Protocol):
    """The physics behind the `simulated` driver. Not thread-safe; owned by the server's control thread."""

    def spec(self, station_id: str, speed: float) -> StationSpec: ...
    def teleport(self, start: Mapping[str, float], episode_seed: int) -> None: ...
    def step(self, action: Values) -> None:
        """Advance one control period."""
        ...

    def observe(self) -> dict[str, NDArray[np.float64]]: ...
    def render(self, camera: str, size_px: int | None = None) -> NDArray[np.uint8]: ...
    def hold_action(self) -> dict[str, NDArray[np.float64]]:
        """The action that keeps the robot where it is."""
        ...

    def truth(self) -> dict[str, float]: ...


@dataclass(frozen=True, slots=True)
class EpisodeEvidence:
    """What the verifier judges: sensors and logs only, never a value that the policy gave."""

    environment: str
    frames: Sequence[Frame]
    """The frames held at the end of the episode, oldest first."""
    observations: Sequence[Values]
    """The observations at those frames."""
    faults: Sequence[str] = ()
    start: Mapping[str, float] = field(default_factory=dict)
    """`ResetReport.achieved`, so that a failure can be told from never having moved. Empty: unknown."""
    measures: Mapping[str, float] = field(default_factory=dict)
    """What the station's own sensor log says of the whole episode, unit in the name, e.g. `peak_force_N`."""


@dataclass(frozen=True, slots=True)
class StoredEvidence:
    """`EpisodeEvidence` as bytes: what is kept of every episode, so that any campaign can be judged again."""

    frames_png: Sequence[bytes] = ()
    """Lossless RGB, oldest first."""
    observations: Sequence[Values] = ()
    """The observations at those frames."""
    cameras: Sequence[str] = ()
    """Camera of each frame; empty: the environment's only one."""
    seqs: Sequence[int] = ()
    """Counter of each frame; empty: 0, 1, …"""
    depths_png: Sequence[bytes] = ()
    """Depth of each frame (see nightlab/depth.py), `b""` where the camera has none; empty: none has."""
    measures: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StepResult:
    """Gymnasium's five, by name. `terminated` = the live check saw success held."""

    observation: Observation
    reward: float
    terminated: bool
    truncated: bool
    info: Mapping[str, Any]


@runtime_checkable
class Environment(Protocol):
    """A manipulation problem with its contract (ENPIRE's EN). One instance per trial."""

    name: str
    max_steps: int
    held_frames: int

    @property
    def limits(self) -> LimitsSpec: ...
    async def reset(
        self, station: Station, lease: Lease, seed: int, *, admin: SimulatorAdmin | None = None
    ) -> ResetReport:
        """Bring the station to the start that `seed` samples; verified before it returns."""
        ...

    async def step(self, session: ControlSession, action: Values, *, film: bool = False) -> StepResult: ...
    async def evidence(self, station: Station, session: ControlSession) -> EpisodeEvidence:
        """Hold still for `held_frames` control periods and collect the frames that the verifier will judge."""
        ...


class Verifier(Protocol):
    """Frozen judge of episodes; in its own trusted process. `outcome` is UNSCORED only for a station's fault."""

    def verify(self, evidence: EpisodeEvidence) -> Verdict: ...


class Policy(Protocol):
    """Researcher code, in its own sandboxed process (`policy.py` defines `make_policy() -> Policy`)."""

    def reset(self, spec: StationSpec, seed: int) -> None: ...
    def act(self, observation: Values) -> Sequence[Values] | None:
        """The next chunk of actions (at least one), or None for done."""
        ...

    def close(self) -> None: ...


class Researcher(Protocol):
    """Whoever proposes ideas. Edits `context.workspace`; only the harness commits."""

    name: str

    async def propose(self, context: ProposalContext) -> Proposal: ...


class Trainer(Protocol):
    """Turns a workspace and dataset revisions into a checkpoint, in a sandboxed process."""

    async def train(self, workspace: Path, out: Path, *, budget_s: float) -> Checkpoint: ...


class Ledger(Protocol):
    """Append-only truth of what happened."""

    def append(self, event: Event) -> int: ...
    def events(self, *, campaign: str = "", kind: str = "", since: int = 0) -> list[Event]: ...
