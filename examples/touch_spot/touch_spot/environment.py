"""touch_spot as an environment: start, step with a live check, evidence."""

import math

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
from nightlab.records import LimitsSpec, ResetReport
from touch_spot import spec
from touch_spot.limits import LIMITS
from touch_spot.reset import reset_station


class TouchSpot:
    """Implements `nightlab.contracts.Environment`."""

    name = spec.NAME
    max_steps = spec.MAX_STEPS
    held_frames = spec.HELD_FRAMES

    def __init__(self) -> None:
        self._begin({})

    def _begin(self, start: dict[str, float]) -> None:
        self._start, self._steps, self._good = start, 0, 0

    @property
    def limits(self) -> LimitsSpec:
        """Safety limits that go with the lease."""
        return LIMITS

    async def reset(
        self, station: Station, lease: Lease, seed: int, *, admin: SimulatorAdmin | None = None
    ) -> ResetReport:
        """Bring the station to the start that `seed` samples."""
        report = await reset_station(station, lease, seed, admin)
        self._begin(dict(report.achieved))
        return report

    async def step(self, session: ControlSession, action: Values, *, film: bool = False) -> StepResult:
        """One action. `reward` in [0, 1] falls with the distance; `terminated` after 3 good periods in a row."""
        (observation,) = await session.step([action], film=film)
        off_px = math.dist(observation.values["finger_xy"], observation.values["spot_xy"])
        self._steps += 1
        self._good = self._good + 1 if off_px <= spec.LIVE_px else 0
        terminated = self._good >= self.held_frames
        return StepResult(
            observation=observation,
            reward=1.0 - min(1.0, off_px / spec.PLATE_px),
            terminated=terminated,
            truncated=not terminated and self._steps >= self.max_steps,
            info={"off_px": off_px},
        )

    async def evidence(self, station: Station, session: ControlSession) -> EpisodeEvidence:
        """Hold still; at the end of each held period one camera frame and what the sensors said."""
        frames: list[Frame] = []
        seen: list[Values] = []
        for _ in range(self.held_frames):
            observation = await session.hold()
            frames.append(await station.capture(spec.CAMERA))
            seen.append(observation.values)
        return EpisodeEvidence(self.name, tuple(frames), tuple(seen), start=self._start)
