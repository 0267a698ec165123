"""Push-T as an environment: start, step with a live check, and the evidence of the last frames."""

from __future__ import annotations

import asyncio
from collections import deque

import numpy as np
from numpy.typing import NDArray

from environments.push_t import spec
from environments.push_t.limits import LIMITS
from environments.push_t.reset import reset_station
from environments.push_t.verify import is_unsure
from nightlab.contracts import (
    ControlSession,
    EpisodeEvidence,
    Frame,
    Lease,
    SimulatorAdmin,
    Station,
    StepResult,
    Values,
)
from nightlab.geometry import coverage
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
        self._good_frames = 0
        self._poses: deque[NDArray[np.float64]] = deque(maxlen=self.held_frames)

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

        `reward` is the coverage in [0, 1] of the pose sensor, averaged over the last 5 frames. `terminated` once that
        is at least 0.955 in 5 frames in a row; the verifier judges afterwards, from the camera.

        """
        (observation,) = await session.step([action], film=film)
        pose = np.asarray(observation.values["block_pose"], dtype=np.float64)
        self._steps += 1
        self._poses.append(pose)
        smooth = coverage(mean_pose(self._poses))
        self._good_frames = self._good_frames + 1 if smooth >= spec.LIVE_COVERAGE else 0
        terminated = self._good_frames >= self.held_frames
        return StepResult(
            observation=observation,
            reward=smooth,
            terminated=terminated,
            truncated=not terminated and self._steps >= self.max_steps,
            info={"good_frames": self._good_frames, "steps": self._steps},
        )

    async def evidence(self, station: Station, session: ControlSession) -> EpisodeEvidence:
        """Hold for 5 control periods; at the end of each, one camera frame and what the sensors said.

        For 5 more if the verifier's first look is unsure (about 4 ms of CPU).
        """
        frames: list[Frame] = []
        observations: list[Values] = []
        for wanted in (self.held_frames, self.held_frames + spec.EXTRA_FRAMES):
            while len(frames) < wanted:
                observation = await session.hold()
                frames.append(await station.capture(spec.CAMERA))
                observations.append(observation.values)
            evidence = EpisodeEvidence(self.name, tuple(frames), tuple(observations), start=self._start)
            if not await asyncio.to_thread(is_unsure, evidence):
                break
        return evidence


def mean_pose(poses: deque[NDArray[np.float64]]) -> list[float]:
    """Mean of poses (x, y, angle) px, px, rad; the angle by its sine and cosine."""
    stacked = np.array(poses)
    if len(stacked) > 1 and not np.any(stacked - stacked[0]):
        return [float(v) for v in stacked[0]]
    angle = np.arctan2(np.sin(stacked[:, 2]).mean(), np.cos(stacked[:, 2]).mean())
    return [float(stacked[:, 0].mean()), float(stacked[:, 1].mean()), float(angle)]
