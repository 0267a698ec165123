"""Labelled episodes from the simulator: prepared states, the evidence that the environment takes, and the truth.

Which states and what the truth means is said by the environment's modules `exam` and `truth` (see environments/exam.py).
The stations are simulated in this process, without pacing, each sampled anew from the profile.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

from environments import exam, make, world
from environments.frames import encode_depths, encode_frames
from nightlab.contracts import EpisodeEvidence, StoredEvidence
from robots.profiles import load_profile
from robots.worlds import make_world


@dataclass(frozen=True, slots=True)
class Staged:
    """One labelled episode."""

    stored: StoredEvidence
    start: dict[str, float]
    faults: tuple[str, ...]
    success: bool
    value: float
    station_seed: int


def check(name: str) -> None:
    """Raise UsageError if an environment cannot be labelled from the simulator."""
    make(name)
    for needed in ("exam", "truth"):
        exam.module(name, needed)


async def stage_episodes(name: str, profile: str, station_seeds: list[int], n: int, seed: int) -> AsyncIterator[Staged]:
    """`n` labelled episodes, dealt to stations with these seeds."""
    chosen = load_profile(profile, world(name))
    stations = [exam.TruthStation(make_world(world(name), chosen, station_seed)) for station_seed in station_seeds]
    for number, state in enumerate(exam.module(name, "exam").states(n, seed)):
        at = number % len(stations)
        case = await exam.collect(stations[at], name, state, (seed + 7919 * number) % 2**31)
        yield Staged(
            store(case.evidence),
            dict(case.evidence.start),
            tuple(case.evidence.faults),
            case.success,
            case.value,
            station_seeds[at],
        )


def store(evidence: EpisodeEvidence) -> StoredEvidence:
    """Evidence as it is kept: lossless pictures."""
    frames = list(evidence.frames)
    depths = encode_depths([frame.depth_m for frame in frames])
    return StoredEvidence(
        frames_png=encode_frames([frame.rgb for frame in frames]),
        observations=list(evidence.observations),
        cameras=[frame.camera for frame in frames],
        seqs=[frame.seq for frame in frames],
        depths_png=depths if any(depths) else [],
        measures=dict(evidence.measures),
    )
