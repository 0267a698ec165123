"""SQLite transactions of the Prefect server: the lock at once, and never twice by one task."""

import asyncio
import time
from pathlib import Path

import sqlalchemy as sa

from commands.prefect_server import begin_immediate


def test_a_transaction_locks_at_once_and_its_own_readers_do_not_wait(tmp_path: Path) -> None:
    from prefect.server.database.configurations import AioSqliteConfiguration

    begin_immediate()
    url = f"sqlite+aiosqlite:///{tmp_path / 'p.db'}"

    async def main() -> list[str]:
        here = AioSqliteConfiguration(connection_url=url)
        engine = await here.engine()
        order: list[str] = []

        async def other() -> None:
            async with await here.session(engine) as session, here.begin_transaction(session):
                order.append("other")
                await session.execute(sa.text("INSERT INTO t VALUES (2)"))

        async with await here.session(engine) as session, here.begin_transaction(session):
            await session.execute(sa.text("CREATE TABLE t (x)"))
        async with await here.session(engine) as session, here.begin_transaction(session):
            waiting = asyncio.get_running_loop().create_task(other(), context=_fresh())
            await asyncio.sleep(0.3)
            assert order == [], "the other one waits for the lock, although this one has written nothing yet"
            begin_s = time.monotonic()
            async with await here.session(engine) as inner:  # opened by the task that holds the lock: it only reads
                assert (await inner.execute(sa.text("SELECT COUNT(*) FROM t"))).scalar() == 0
            async with await here.session(engine) as inner, here.begin_transaction(inner):
                assert (await inner.execute(sa.text("SELECT COUNT(*) FROM t"))).scalar() == 0
            assert time.monotonic() - begin_s < 10, "it waited for its own lock (60 s, then: database is locked)"
            order.append("first")
            await session.execute(sa.text("INSERT INTO t VALUES (1)"))
        await asyncio.wait_for(waiting, 60)
        async with await here.session(engine) as session:
            assert (await session.execute(sa.text("SELECT COUNT(*) FROM t"))).scalar() == 2
        await engine.dispose()
        return order

    assert asyncio.run(main()) == ["first", "other"]


def _fresh() -> object:
    from contextvars import Context

    return Context()
