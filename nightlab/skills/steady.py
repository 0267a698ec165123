"""A control stream for skills that goes on after the computer stalled.

A station stops a stream whose actions are late; the robot holds then. For a policy that is a fault. A skill looks at
every observation and moves by small steps from where the arms are, so it can go on: on a new stream, with the same action.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

from nightlab.contracts import ControlSession, Lease, Observation, Station, Values
from nightlab.errors import SafetyError


class SteadySession:
    """Implements `nightlab.contracts.ControlSession` over one stream after the other; `steady` opens it."""

    def __init__(self, station: Station, lease: Lease, label: str) -> None:
        self.reopened = 0
        """How often a stream was replaced."""
        self._station, self._lease, self._label = station, lease, label
        self._streams = AsyncExitStack()
        self._session: ControlSession

    async def open(self) -> None:
        """Open a stream. Raises LeaseError, StationError."""
        self._session = await self._streams.enter_async_context(self._station.control(self._lease, self._label))

    async def close(self) -> None:
        """End the stream; the robot holds."""
        await self._streams.aclose()

    async def step(self, chunk: Sequence[Values], *, film: bool = False) -> list[Observation]:
        """As `ControlSession.step`; a refused chunk is sent once more, on a new stream, where nothing is late yet.

        Raises:
            SafetyError: refused there too, so the actions themselves are at fault. The robot holds.
        """
        try:
            return await self._session.step(chunk, film=film)
        except SafetyError:
            await self.close()
            self.reopened += 1
            await self.open()
            return await self._session.step(chunk, film=film)

    async def hold(self) -> Observation:
        """Hold the present target for one control period."""
        return await self._session.hold()


@asynccontextmanager
async def steady(station: Station, lease: Lease, label: str) -> AsyncIterator[SteadySession]:
    """A control stream that a stall of the computer does not end."""
    session = SteadySession(station, lease, label)
    await session.open()
    try:
        yield session
    finally:
        await session.close()
