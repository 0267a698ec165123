"""How good a version's reset is: it runs in the sandbox, drives a simulated station through the host, and the host looks.

A reset counts if its report says success, it asked for the start that the frozen sampling gives for the seed, and the
ground truth is within the tolerance of that start. The version never learns the truth.
"""

from __future__ import annotations

import importlib
from collections import Counter
from collections.abc import Sequence

from pydantic import Field

from environments import exam, make, package_name, world
from environments.workbench.judge import CandidateError, Judge
from environments.workbench.station_calls import StationCalls
from nightlab.contracts import SimulatorAdmin
from nightlab.records import Record
from robots.profiles import load_profile
from robots.worlds import make_world


class ResetScore(Record):
    """A version's reset over some seeds."""

    n: int
    successes: int
    claimed: int
    """Resets that called themselves successful, whatever the truth says."""
    mean_attempts: float
    mean_duration_s: float
    """Station seconds."""
    worst_distance: float | None
    """Of the true state from the asked start, in the environment's unit, over the resets that succeeded."""
    failures: dict[str, int] = Field(default_factory=dict)

    @property
    def success_rate(self) -> float:
        """Share of resets that really reached their start."""
        return self.successes / self.n if self.n else 0.0


async def score_resets(
    judge: Judge, name: str, profile: str, seeds: Sequence[int], station_seed: int = 1
) -> ResetScore:
    """Reset to the start of each seed on one simulated station."""
    truth = exam.module(name, "truth")
    sample = importlib.import_module(f"{package_name(name)}.start").sample_start
    station = exam.TruthStation(make_world(world(name), load_profile(profile, world(name)), station_seed))
    lease = await station.lease("workbench", make(name).limits)
    admin: SimulatorAdmin | None = station if getattr(truth, "RESET_BY_TELEPORT", False) else None
    failures: Counter[str] = Counter()
    attempts: list[int] = []
    durations: list[float] = []
    distances: list[float] = []
    claimed = 0
    for seed in seeds:
        drawn = sample(seed)
        asked = {key: float(value) for key, value in (drawn[0] if isinstance(drawn, tuple) else drawn).items()}
        try:
            report = await judge.reset(StationCalls(station, lease, admin), seed)
        except CandidateError as error:
            failures[f"reset: {error}"[:120]] += 1
            continue
        attempts.append(report.attempts)
        durations.append(report.duration_s)
        claimed += report.success
        distance = float(truth.start_distance(asked, await station.truth()))
        if not report.success:
            failures[f"reset: {report.reason}"[:120]] += 1
        elif report.asked != asked:
            failures["reset: it asked for another start than the seed's"] += 1
        elif distance > truth.START_TOLERANCE:
            failures["reset: it says success, the truth is too far from the asked start"] += 1
        else:
            distances.append(distance)
    await lease.release()
    return ResetScore(
        n=len(seeds),
        successes=len(distances),
        claimed=claimed,
        mean_attempts=sum(attempts) / len(attempts) if attempts else 0.0,
        mean_duration_s=sum(durations) / len(durations) if durations else 0.0,
        worst_distance=max(distances, default=None),
        failures=dict(failures),
    )
