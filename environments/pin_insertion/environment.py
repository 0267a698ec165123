"""Pin insertion as an environment: reset by the arms, step with a live check, evidence of two cameras."""

from __future__ import annotations

from collections import deque
from contextlib import suppress

import numpy as np
from numpy.typing import NDArray

from environments.pin_insertion import spec
from environments.pin_insertion.evidence import collect
from environments.pin_insertion.limits import LIMITS, narrowed, policy_box
from environments.pin_insertion.reset import Resetter
from environments.pin_insertion.sense import insertion, lean_rad
from nightlab.contracts import (
    ControlSession,
    EpisodeEvidence,
    Lease,
    Observation,
    SimulatorAdmin,
    Station,
    StepResult,
    Values,
)
from nightlab.errors import SafetyError, SkillError, StationError
from nightlab.records import LimitsSpec, ResetReport
from nightlab.skills.motion import Hands, come_off
from nightlab.skills.run import perform

Array = NDArray[np.float64]


class PinInsertion:
    """Implements `nightlab.contracts.Environment`. `reset` begins an episode and forgets the one before."""

    name = spec.NAME
    max_steps = spec.MAX_STEPS
    held_frames = spec.HELD_FRAMES

    def __init__(self) -> None:
        self.reset_jpeg: list[bytes] = []
        """Pictures before and after the latest reset, in the order of `ResetReport.frames`."""
        self._begin({}, {})

    def _begin(self, start: dict[str, float], kept: dict[str, Array]) -> None:
        self._start = start
        self._kept = kept
        self._box = policy_box(kept["right_pose"]) if kept else (np.zeros(6), np.zeros(6))
        self._steps = 0
        self._peak_N = 0.0
        self._depths: deque[float] = deque(maxlen=spec.LIVE_PERIODS)
        self._leaning = 0
        self._broken_off: Observation | None = None

    @property
    def limits(self) -> LimitsSpec:
        """Safety limits that go with the lease: those of reset and evidence. A policy's are narrower, see `step`."""
        return LIMITS

    async def reset(
        self, station: Station, lease: Lease, seed: int, *, admin: SimulatorAdmin | None = None
    ) -> ResetReport:
        """Bring pin and arms to the start that `seed` samples, with the arms. See `environments.pin_insertion.reset`.

        `admin` tells a simulated station that an episode begins, which a real one is told by nobody; nothing moves by it.
        """
        done = await Resetter(station, lease, admin).run(seed)
        self.reset_jpeg = done.jpeg
        self._begin(dict(done.report.achieved), done.kept)
        return done.report

    async def step(self, session: ControlSession, action: Values, *, film: bool = False) -> StepResult:
        """Run one action for one control period. Of the action only `right_pose` and `right_stiffness` count.

        `reward` is the share of 15 mm that the tip is deep in the target hole, by the pin sensor averaged over 5
        periods, in [0, 1]. `terminated` once that is at least 16.5 mm in each of them; the verifier judges afterwards,
        from the cameras. `truncated` after 400 steps, or once 40 N were reached or the pin topples in the gripper, after
        which nothing can succeed.

        Raises:
            SafetyError: the action lacks a key or is not finite.
            StationError: `reset` was not called.
        """
        if not self._kept:
            raise StationError("step before reset; call reset(station, lease, seed) first")
        missing = {"right_pose", "right_stiffness"} - set(action)
        if missing:
            raise SafetyError(f"an action needs right_pose and right_stiffness; missing: {', '.join(sorted(missing))}")
        allowed, cut = narrowed(action, self._kept, self._box)
        (observation,) = await session.step([allowed], film=film)
        values = observation.values
        self._steps += 1
        self._peak_N = max(self._peak_N, float(np.max(values["peak_force"])))
        found = insertion(values)
        self._depths.append(found.depth_m if found.in_target else 0.0)
        terminated = len(self._depths) == spec.LIVE_PERIODS and min(self._depths) >= spec.LIVE_DEPTH_m
        self._leaning = self._leaning + 1 if lean_rad(values) > spec.TOPPLING_rad else 0
        broken_off = self._peak_N >= spec.MAX_FORCE_N or self._leaning >= spec.TOPPLING_PERIODS
        if broken_off and not found.in_hole:
            self._broken_off = observation
        over = self._steps >= self.max_steps or broken_off
        return StepResult(
            observation=observation,
            reward=min(1.0, max(0.0, float(np.mean(self._depths)) / spec.SUCCESS_DEPTH_m)),
            terminated=terminated,
            truncated=not terminated and over,
            info={"steps": self._steps, "depth_m": self._depths[-1], "peak_force_N": self._peak_N, "cut_to_box": cut},
        )

    async def evidence(self, station: Station, session: ControlSession) -> EpisodeEvidence:
        """Let go of a pin that stands in a hole, step aside, and take 3 frames of each camera. See `.evidence`.

        A hand whose episode was broken off comes off first: it would go on pressing.
        """
        if self._broken_off is not None:
            with suppress(SkillError):
                hands = Hands.of(self._broken_off.values, self._broken_off.executed)
                await perform(session, come_off(hands, "right", spec.COME_OFF_m), hands)
        measures = {"peak_force_N": self._peak_N, "steps": float(self._steps)}
        return await collect(
            station,
            session,
            lambda frames, seen: EpisodeEvidence(
                self.name, tuple(frames), tuple(seen), start=self._start, measures=measures
            ),
        )
