"""How flow runs are doing, all of them in one request a second: a request for each of 32 cost the server a third of a core.

Less often where the server is slow to answer.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Collection, Mapping
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.client.schemas.objects import State

LOOK_S = 1.0
"""Between two looks, wall seconds."""
SHARE, LONGEST_S = 0.05, 10.0
"""A look takes no more of the time than this, unless that leaves a longer pause than so many wall seconds."""


class Followed:
    """Flow runs that are waited for. Belongs to one event loop.

    Args:
        read: The states of flow runs; those that do not exist are left out.
        look_s: Between two looks, wall seconds.
    """

    def __init__(
        self, read: Callable[[Collection[UUID]], Awaitable[Mapping[UUID, State | None]]], look_s: float = LOOK_S
    ) -> None:
        self._read, self._look_s = read, look_s
        self._runs: set[UUID] = set()
        self._turn = asyncio.Lock()
        self._seen: Mapping[UUID, State | None] = {}
        self._asked: frozenset[UUID] = frozenset()
        self._looked_s = -math.inf
        self._pause_s = look_s

    async def end(self, run: UUID) -> State | None:
        """Wait until a flow run has ended, and return in which state; None: it was deleted.

        Raises:
            Exception: what `read` raised; asking again goes on waiting.
        """
        self._runs.add(run)
        try:
            while True:
                await asyncio.sleep(self._pause_s)
                state = await self._look(run)
                if state is None or state.is_final():
                    return state
        finally:
            self._runs.discard(run)

    async def _look(self, run: UUID) -> State | None:
        """The latest state; whoever finds it too old asks for all."""
        async with self._turn:
            if run not in self._asked or time.monotonic() - self._looked_s > 0.9 * self._pause_s:
                asked, begin_s = frozenset(self._runs), time.monotonic()
                self._seen = await self._read(asked)
                self._asked, self._looked_s = asked, time.monotonic()
                self._pause_s = max(self._look_s, min((self._looked_s - begin_s) / SHARE, LONGEST_S))
            return self._seen.get(run)


async def states(runs: Collection[UUID]) -> dict[UUID, State | None]:
    """The states of flow runs, at most 200, in one request; those that were deleted are left out.

    Raises:
        httpx.HTTPError, PrefectException: the server does not answer, or not so.
    """
    async with get_client() as client:
        wanted = FlowRunFilter(id=FlowRunFilterId(any_=list(runs)))
        found = await client.read_flow_runs(flow_run_filter=wanted, limit=len(runs))
    return {run.id: run.state for run in found}
