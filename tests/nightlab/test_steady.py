"""A stream that a stall ends is replaced, and the skill on it goes on; an action that is at fault stays refused."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import numpy as np
import pytest

from nightlab.contracts import ControlSession, Lease, Observation, Values
from nightlab.errors import SafetyError
from nightlab.skills.steady import steady
from nightlab.testing.fake_station import FakeStation
from robots.profiles import load_profile
from robots.worlds import make_world

LIMITS = make_world("push_t", load_profile("nominal"), 0).spec("", 1).limits


class StallingSession:
    """Stops after some actions, as a station stops a stream whose actions are late."""

    def __init__(self, session: ControlSession, steps: int) -> None:
        self._session, self._left = session, steps

    async def step(self, chunk: Sequence[Values], *, film: bool = False) -> list[Observation]:
        if not self._left:
            raise SafetyError("3 control periods without an action: the stream stopped; only hold() goes on")
        self._left -= 1
        return await self._session.step(chunk, film=film)

    async def hold(self) -> Observation:
        return await self._session.hold()


class Stalling(FakeStation):
    """Every stream of it stalls after three actions."""

    @asynccontextmanager
    async def control(self, lease: Lease, label: str = "") -> AsyncIterator[ControlSession]:  # type: ignore[override]
        async with super().control(lease, label) as session:
            yield StallingSession(session, 3)


def test_a_stream_that_stalls_is_replaced_and_no_action_is_lost() -> None:
    async def run() -> None:
        station = Stalling(make_world("push_t", load_profile("nominal"), 1))
        lease = await station.lease("t", LIMITS)
        async with steady(station, lease, "reset") as session:
            await session.hold()
            seen = [(await session.step([{"target_xy": np.array([256.0 + x, 300.0])}]))[0] for x in range(10)]
        assert [float(one.executed["target_xy"][0]) for one in seen] == [256.0 + x for x in range(10)]
        assert session.reopened == 3
        assert station.calls.count("control") == 4

    asyncio.run(run())


def test_an_action_at_fault_is_refused_on_the_new_stream_too() -> None:
    async def run() -> None:
        station = FakeStation(make_world("push_t", load_profile("nominal"), 1))
        lease = await station.lease("t", LIMITS)
        async with steady(station, lease, "reset") as session:
            with pytest.raises(SafetyError, match="target_xy"):
                await session.step([{"target_xy": np.array([np.nan, 300.0])}])
            (seen,) = await session.step([{"target_xy": np.array([256.0, 300.0])}])
            assert seen.executed["target_xy"][0] == 256.0
        assert session.reopened == 1

    asyncio.run(run())
