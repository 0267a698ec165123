"""SQLite under Prefect's server: writes that never lock, however many flows there are and however busy the host.

Stock Prefect 3.8.8 begins SQLite transactions DEFERRED; those that read before they write fail with "database is locked"
(HTTP 503) when several pools poll. Here every transaction begins IMMEDIATE, and one after the other in the order in which
they came: SQLite itself lets writers sleep up to 100 ms between two looks whether it is their turn, and lets those that
come later pass. Nobody waits for a connection.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from contextvars import ContextVar
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

_HOLDS_LOCK: ContextVar[bool] = ContextVar("holds_lock", default=False)
_TURNS: WeakKeyDictionary[asyncio.AbstractEventLoop, Turns] = WeakKeyDictionary()
TURN_S = 60.0
"""Longest time that others wait for one holder of the turn to write, wall seconds; then SQLite's own lock decides."""


class Turns:
    """The turn to write of one event loop: a lock that is handed on in order, and how often it was."""

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.taken = 0

    async def take(self, most_s: float) -> bool:
        """Wait for the turn. False: one holder has kept it for `most_s` (wall seconds)."""
        waiting = asyncio.ensure_future(self.lock.acquire())
        try:
            while not waiting.done():
                taken = self.taken
                await asyncio.wait({waiting}, timeout=most_s)
                if self.taken == taken:
                    break
        except asyncio.CancelledError:
            if not waiting.cancel():
                self.lock.release()
            raise
        if waiting.done():
            self.taken += 1
            return True
        waiting.cancel()
        return False


@asynccontextmanager
async def turn(most_s: float = TURN_S) -> AsyncGenerator[None, None]:
    """Hold the turn to write, first come first served; go on without it when one holder has kept it for `most_s`."""
    turns = _TURNS.setdefault(asyncio.get_running_loop(), Turns())
    if not await turns.take(most_s):
        yield
        return
    try:
        yield
    finally:
        turns.lock.release()


def begin_immediate() -> None:
    """Let every SQLite transaction of the server take the write lock at its begin.

    A session that is opened while its own task holds the lock (Prefect does so when a work pool changes its status) reads
    beside it, as in stock Prefect: asking for the lock a second time would wait 60 s for itself.
    """
    from prefect.server.database.configurations import SQLITE_BEGIN_MODE, AioSqliteConfiguration

    original: Any = AioSqliteConfiguration.begin_transaction
    if getattr(original, "immediate", False):
        return

    @asynccontextmanager
    async def begin_transaction(self: Any, session: Any, with_for_update: bool = False) -> AsyncGenerator[Any, None]:
        if _HOLDS_LOCK.get():
            async with original(self, session, with_for_update=with_for_update) as transaction:
                yield transaction
            return
        held = _HOLDS_LOCK.set(True)
        try:
            async with turn(), original(self, session, with_for_update=True) as transaction:
                await session.connection()  # begins now, with the lock
                mode = SQLITE_BEGIN_MODE.set("DEFERRED")
                try:
                    yield transaction
                finally:
                    SQLITE_BEGIN_MODE.reset(mode)
        finally:
            _HOLDS_LOCK.reset(held)

    begin_transaction.immediate = True  # type: ignore[attr-defined]
    AioSqliteConfiguration.begin_transaction = begin_transaction  # type: ignore[method-assign]


def connect_freely() -> None:
    """Let SQLAlchemy open as many SQLite connections as are asked for: the requests served at once are bounded already.

    With its 15, whoever had the turn to write waited for a connection behind those who waited for the turn with one in
    hand; on a busy host that stopped a lab of 8 stations for minutes (225 times "QueuePool limit … reached").
    """
    import prefect.server.database.configurations

    module: Any = prefect.server.database.configurations
    if not isinstance(module.create_async_engine, partial):
        module.create_async_engine = partial(module.create_async_engine, max_overflow=-1)
