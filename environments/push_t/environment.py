"""Push-T as an environment: start, step with a live check, and the evidence of the last frames."""

from __future__ import annotations

import asyncio

import numpy as np

from environments.push_t import spec
from environments.push_t.limits import LIMITS
from environments.push_t.live import LiveCheck
from environments.push_t.reset import reset_station
from environments.push_t.verify import is_unsure
from nightlab.contracts import (
    ControlSession,
    EpisodeEvidence,
    Frame,
    Lease,
    Observation,
    SimulatorAdmin,
    Station,
    StepResult,
    Values,
)
from nightlab.geometry import TABLE_PX
from nightlab.records import LimitsSpec, ResetReport


class PushT:
    """Implements `nightlab.contracts.Environment`. `reset` begins an episode and forgets the one before."""

    name = spec.NAME
    max_steps = spec.MAX_STEPS
    held_frames = spec.HELD_FRAMES

    def __init__(self) -> None:
        self._begin({})

    def _begin(self, start: dict[str, float]) -> None:
        self._start = start
        self._steps = 0
        self._live = LiveCheck()
        self._seen: Observation | None = None

    @property
    def limits(self) -> LimitsSpec:
        """Safety limits that go with the lease."""
        return LIMITS

    async def reset(
        self, station: Station, lease: Lease, seed: int, *, admin: SimulatorAdmin | None = None
    ) -> ResetReport:
        """Bring the station to the start that `seed` samples. See `environments.push_t.reset`."""
        report = await reset_station(station, lease, seed, admin)
        self._begin(dict(report.achieved))
        return report

    async def step(self, session: ControlSession, action: Values, *, film: bool = False) -> StepResult:
        """Run one action for one control period.

        `reward` is the coverage in [0, 1] of the pose sensor, averaged over frames at rest. `terminated` once that is
        at least 0.955 in 5 frames in a row (`environments.push_t.live`); the verifier judges afterwards, by camera.
        """
        (observation,) = await session.step([action], film=film)
        self._seen = observation
        self._steps += 1
        self._live.add(np.asarray(observation.values["block_pose"], dtype=np.float64).tolist())
        terminated = self._live.held
        return StepResult(
            observation=observation,
            reward=self._live.believed,
            terminated=terminated,
            truncated=not terminated and self._steps >= self.max_steps,
            info={"good_frames": self._live.good_frames, "steps": self._steps},
        )

    async def evidence(self, station: Station, session: ControlSession) -> EpisodeEvidence:
        """Stop and hold for 5 control periods; at the end of each, one camera frame and what the sensors said.

        For 5 more if the verifier's first look is unsure (about 4 ms of CPU).
        """
        frames: list[Frame] = []
        observations: list[Values] = []
        for wanted in (self.held_frames, self.held_frames + spec.EXTRA_FRAMES):
            while len(frames) < wanted:
                observation = await self._stop(session)
                frames.append(await station.capture(spec.CAMERA))
                observations.append(observation.values)
            evidence = EpisodeEvidence(self.name, tuple(frames), tuple(observations), start=self._start)
            if not await asyncio.to_thread(is_unsure, evidence):
                break
        return evidence

    async def _stop(self, session: ControlSession) -> Observation:
        """One control period of holding; the first brings the target back to where the disc is, or it would run on."""
        last, self._seen = self._seen, None
        if last is None or "target_xy" not in last.executed:
            return await session.hold()
        target = np.asarray(last.executed["target_xy"], dtype=np.float64)
        most = np.array(LIMITS.max_step["target_xy"])
        back = target + np.clip(np.asarray(last.values["agent_xy"]) - target, -most, most)
        (observation,) = await session.step([{"target_xy": np.clip(back, 0.0, TABLE_PX)}])
        return observation
