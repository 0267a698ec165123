"""One episode: reset the station, let the policy act until an end is reached, collect what the verifier will judge.

Runs inside the trial process. The policy sees observations only; its random seed is derived from the episode's key, so
the environment's seed never reaches the sandbox.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

from data.episodes import EpisodeArrays, EpisodeBuffer
from nightlab.contracts import ControlSession, Environment, EpisodeEvidence, Lease, Observation, SimulatorAdmin
from nightlab.errors import PolicyError, ResetError, SafetyError
from nightlab.records import Clock, EpisodeEnd, EpisodeKey, ResetReport, StationSpec
from policies.host import PolicyProcess
from robots.client import StationClient

FILM_Hz = 5.0
"""Pictures a second of station time. On the MuJoCo bench a picture costs as much as three control periods."""


class ResetFailed(ResetError):
    """A reset used up its attempts. Carries what it did, and what the cameras saw before and after."""

    def __init__(self, station_id: str, report: ResetReport, pictures: list[bytes]) -> None:
        super().__init__(f"{station_id}: reset failed after {report.attempts} attempts: {report.reason}")
        self.report = report
        self.pictures = pictures


@dataclass(slots=True)
class RawEpisode:
    """An episode that ran, not yet judged."""

    key: EpisodeKey
    end: EpisodeEnd
    steps: int
    late: int
    clamped: int
    reset: ResetReport
    reset_begin: Clock
    rollout_begin: Clock
    rollout_end: Clock
    control_wall_s: float
    fault: str
    evidence: EpisodeEvidence
    arrays: EpisodeArrays


def policy_seed(key: EpisodeKey, secret: str = "") -> int:
    """A 31-bit seed for the policy's own randomness: the same for candidate and incumbent.

    Keyed with the lab's secret: environment seeds have 31 bits, so a policy could try them all against a public hash.
    """
    digest = hashlib.blake2b(f"policy-{key.pool.value}-{key.seed}".encode(), key=secret.encode()[:64]).digest()
    return int.from_bytes(digest[:4], "big") >> 1


async def run_episode(
    environment: Environment,
    station: StationClient,
    lease: Lease,
    admin: SimulatorAdmin | None,
    policy: PolicyProcess,
    spec: StationSpec,
    key: EpisodeKey,
    *,
    film: bool,
    secret: str = "",
) -> RawEpisode:
    """Run one episode.

    What the policy does wrong (exception, NaN, refused action, too late) ends the episode with POLICY_FAULT or
    SAFETY_STOP; the frames are still taken. A station's fault raises StationError: the caller records it as UNSCORED.
    A reset that used up its attempts raises ResetFailed: the caller parks the station.
    """
    reset_begin = await station.clock()
    reset = await environment.reset(station, lease, key.seed, admin=admin)
    pictures = list(getattr(environment, "reset_jpeg", ()))
    if not reset.success:
        raise ResetFailed(spec.station_id, reset, pictures)
    buffer = EpisodeBuffer()
    fault, end = "", EpisodeEnd.MAX_STEPS
    async with station.control(lease, label=key.text()) as session:
        observation = await session.hold()
        rollout_begin = observation.clock
        try:
            await policy.reset(spec, policy_seed(key, secret))
            every = max(1, round(spec.rate_hz / FILM_Hz)) if film else 0
            end = await _act(environment, session, policy, observation, buffer, film_every=every)
        except PolicyError as error:
            fault, end = str(error), EpisodeEnd.POLICY_FAULT
        except SafetyError as error:
            fault, end = str(error), EpisodeEnd.SAFETY_STOP
        evidence = await environment.evidence(station, session)
        stats = session.stats
    return RawEpisode(
        key=key,
        end=end,
        steps=len(buffer),
        late=stats.late,
        clamped=stats.clamped,
        reset=reset,
        reset_begin=reset_begin,
        rollout_begin=rollout_begin,
        rollout_end=await station.clock(),
        control_wall_s=stats.control_wall_s,
        fault=fault,
        evidence=evidence,
        arrays=replace(buffer.arrays(), reset_jpeg=pictures),
    )


async def _act(
    environment: Environment,
    session: ControlSession,
    policy: PolicyProcess,
    observation: Observation,
    buffer: EpisodeBuffer,
    *,
    film_every: int,
) -> EpisodeEnd:
    """The control loop: ask for a chunk, run it action by action, stop at the first end; film every so many periods."""
    while True:
        chunk = await policy.act(observation.values)
        if chunk is None:
            return EpisodeEnd.DONE
        for action in chunk:
            before = observation
            wants_film = film_every > 0 and len(buffer) % film_every == 0
            result = await environment.step(session, action, film=wants_film)
            observation = result.observation
            buffer.add(before, action, observation)
            if result.terminated:
                return EpisodeEnd.HELD
            if result.truncated:
                return EpisodeEnd.MAX_STEPS
