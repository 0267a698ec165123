"""Examining a verifier: episodes whose outcome is known from ground truth.

An environment that can be examined has two modules: `exam` with `states(n, seed)`, `prepare(station, lease, admin,
state, episode_seed)` and `BAND`; `truth` with `label(truths)` (see environments/push_t). The evidence is collected by
the environment itself, as after any episode, so what is measured is the whole way from the camera to the verdict.
What the verdicts come to is counted by environments/exam_tally.py; environments/workbench/kept_cases.py keeps the cases.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any

from environments import make, package_name
from nightlab.contracts import EpisodeEvidence, Frame, Lease, World
from nightlab.errors import UsageError
from nightlab.testing.fake_station import FakeStation

FIX = "write environments/<name>/exam.py and truth.py as docs/new_environment.md says"


@dataclass(frozen=True, slots=True)
class Case:
    """One episode whose outcome is known."""

    evidence: EpisodeEvidence
    success: bool
    value: float
    """What the threshold is about, by ground truth."""
    part: str
    """`balanced`, or `terminal` for the end of a good policy's episode."""


class TruthStation(FakeStation):
    """A station in this process that writes down the truth at each frame."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.truths: list[Mapping[str, float]] = []

    async def capture(self, camera: str) -> Frame:
        """A frame, and the truth at it."""
        frame = await super().capture(camera)
        self.truths.append(dict(self.world.truth()))
        return frame


def module(environment: str, name: str) -> ModuleType:
    """`exam` or `truth` of an environment.

    Raises:
        UsageError: the environment has none.
    """
    dotted = f"{package_name(environment)}.{name}"
    try:
        return importlib.import_module(dotted)
    except ModuleNotFoundError as error:
        if error.name != dotted:
            raise
        raise UsageError(f"{environment} has no module {dotted}, so its verifier cannot be examined; {FIX}") from error


async def collect(station: TruthStation, environment: str, state: Mapping[str, float], episode_seed: int) -> Case:
    """The case of one state: prepared, held and photographed as after an episode, with the truth at the frames."""
    judged, lease = make(environment), await station.lease("exam", make(environment).limits)
    try:
        logged = await module(environment, "exam").prepare(station, lease, station, state, episode_seed)
        return await close(station, environment, judged, lease, "balanced", logged)
    finally:
        await lease.release()


async def close(
    station: TruthStation,
    environment: str,
    judged: Any,
    lease: Lease,
    part: str,
    logged: Mapping[str, float] | None = None,
) -> Case:
    """Collect the evidence of the state that the station is in. `logged`: measures of an episode that was not run."""
    station.truths.clear()
    async with station.control(lease, "exam") as session:
        evidence = await judged.evidence(station, session)
    told = dict(logged or {})
    success, value = module(environment, "truth").label([{**truth, **told} for truth in station.truths])
    evidence = replace(evidence, measures={**evidence.measures, **told})
    return Case(evidence, bool(success), float(value), part)
