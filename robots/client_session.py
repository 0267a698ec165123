"""The client's half of a control stream. Implements `nightlab.contracts.ControlSession`."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass

from nightlab.contracts import Observation, Values
from nightlab.errors import NightlabError, SafetyError, StationError
from nightlab.records import Clock, StationSpec
from robots import wire
from robots.calls import CALL_S
from robots.control_line import Answer, ControlLine

_UNSET = Clock(wall_s=0.0, station_s=0.0)


@dataclass(slots=True)
class SessionStats:
    """What happened on one control stream, from the server's stamps."""

    steps: int = 0
    """Control periods that ran, held ones included."""
    late: int = 0
    """Of these: held because no action came in time."""
    clamped: int = 0
    waited_s: float = 0.0
    """What the station waited for the latest request, from its previous answer on, at its control thread; 0: unknown."""
    begin: Clock = _UNSET
    end: Clock = _UNSET

    @property
    def control_wall_s(self) -> float:
        """Wall seconds from the opening of the stream to its latest tick."""
        return self.end.wall_s - self.begin.wall_s

    @property
    def control_station_s(self) -> float:
        """Station seconds over the same span."""
        return self.end.station_s - self.begin.station_s


class ClientSession:
    """Lockstep of chunks and observations. Made by `StationClient.control`.

    A SafetyError leaves the stream open (the robot held; `hold` and legal steps go on, except after too many late
    periods, when only `hold` does). Any other error ends it.
    """

    def __init__(self, line: ControlLine, spec: StationSpec) -> None:
        self.stats = SessionStats()
        self.first: Observation | None = None
        """The observation at the opening of the stream."""
        self._line = line
        self._period_s = 1.0 / (spec.rate_hz * spec.speed) if spec.speed > 0 else 1.0 / spec.rate_hz
        self._ended = ""

    async def open(self, token: str, label: str) -> None:
        """Open the stream; `StationClient.control` calls it."""
        self.first = self._take(await self._done(self._line.open(token, label, CALL_S)))[0]
        self.stats.begin = self.stats.end = self.first.clock

    async def step(self, chunk: Sequence[Values], *, film: bool = False) -> list[Observation]:
        """Run a chunk of 1 to 64 actions, one per control period; one observation per action.

        The whole chunk is checked first. A period that was held because the chunk came too late replaces the action
        that belonged to it; its observation has `flags.late`.

        Raises:
            SafetyError: NaN, shape, bounds, chunk length, or the stream was stopped for late actions. The robot held.
            LeaseError: the lease lapsed.
            StationError: fault, e-stop, or the station is gone. All but SafetyError end the stream.
        """
        arrays = [wire.as_arrays(action) for action in chunk]
        return self._take(await self._ask(arrays, film, len(chunk), "step"))

    async def hold(self, *, film: bool = False) -> Observation:
        """Hold the present target for one control period. After it the station waits: silence is not late."""
        return self._take(await self._ask(None, film, 1, "hold"))[-1]

    async def close(self) -> None:
        """End the stream; the robot holds. `StationClient.control` calls it."""
        self._ended = self._ended or "closed"
        await self._line.close()

    def _take(self, answer: Answer) -> list[Observation]:
        stats = self.stats
        stats.steps += answer.periods
        stats.late += answer.late
        stats.clamped += answer.clamped
        stats.waited_s = answer.waited_s
        if answer.observations:
            stats.end = answer.observations[-1].clock
        if answer.error_kind:
            error = wire.KINDS.get(answer.error_kind, StationError)(answer.error)
            if not isinstance(error, SafetyError):
                self._ended = answer.error
            raise error
        return answer.observations

    async def _ask(self, chunk: Sequence[Values] | None, film: bool, periods: int, what: str) -> Answer:
        if self._ended:
            raise StationError(f"{what}: this control stream has ended ({self._ended}); open a new one")
        return await self._done(self._line.ask(chunk, film, CALL_S + periods * self._period_s))

    async def _done(self, asked: Awaitable[Answer]) -> Answer:
        try:
            return await asked
        except asyncio.CancelledError:
            self._ended = "cancelled"
            raise
        except NightlabError as error:
            self._ended = str(error)
            raise
