"""SQLite transactions of the Prefect server: the lock at once, and never twice by one task."""

import asyncio
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
import sqlalchemy as sa
from conftest import HERE, until

from benchmarks.fleet_size import locked
from commands.environment import service_environment
from commands.prefect_sqlite import begin_immediate, connect_freely, turn
from data.lab import Lab


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


def test_a_writer_does_not_wait_for_the_connections_of_those_who_wait_for_it(tmp_path: Path) -> None:
    from prefect.server.database.configurations import AioSqliteConfiguration

    begin_immediate()
    connect_freely()
    url = f"sqlite+aiosqlite:///{tmp_path / 'p.db'}"

    async def main() -> int:
        here = AioSqliteConfiguration(connection_url=url)
        engine = await here.engine()
        writing, reading = asyncio.Event(), []

        async def reader() -> None:
            """Has a connection until the writer has had its turn."""
            async with await here.session(engine) as session:
                await session.execute(sa.text("SELECT 1"))
                reading.append(session)
                await writing.wait()

        readers = [asyncio.create_task(reader()) for _ in range(40)]
        while len(reading) < 40:
            await asyncio.sleep(0.01)
        async with await here.session(engine) as session, here.begin_transaction(session):
            await session.execute(sa.text("CREATE TABLE t (x)"))
            writing.set()
        await asyncio.gather(*readers)
        await engine.dispose()
        return len(reading)

    assert asyncio.run(asyncio.wait_for(main(), 20.0)) == 40


def test_writers_take_turns_in_the_order_in_which_they_came() -> None:
    async def main() -> list[int]:
        order: list[int] = []

        async def writer(number: int) -> None:
            async with turn():
                order.append(number)
                await asyncio.sleep(0.01)

        await asyncio.gather(*(writer(number) for number in range(20)))
        return order

    assert asyncio.run(main()) == list(range(20))


def test_nobody_loses_his_place_while_others_have_their_turns() -> None:
    async def main() -> list[int]:
        order: list[int] = []

        async def writer(number: int) -> None:
            async with turn(most_s=1.0):
                order.append(number)
                await asyncio.sleep(0.1)
                assert order[-1] == number, "nobody writes in between"

        await asyncio.gather(*(writer(number) for number in range(20)))
        return order

    assert asyncio.run(main()) == list(range(20))


def test_who_is_cancelled_while_he_waits_does_not_keep_the_turn() -> None:
    async def main() -> None:
        async with turn():
            tasks = [asyncio.create_task(_write()) for _ in range(3)]
            await asyncio.sleep(0.01)
            tasks[0].cancel()
        tasks[1].cancel()  # it was just woken
        await asyncio.gather(*tasks, return_exceptions=True)
        assert [task.cancelled() for task in tasks] == [True, True, False]
        async with asyncio.timeout(1.0), turn():
            pass

    async def _write() -> None:
        async with turn():
            pass

    asyncio.run(main())


def test_who_waits_too_long_for_the_turn_goes_on_and_leaves_it_with_its_holder() -> None:
    async def main() -> None:
        async with turn():
            async with turn(most_s=0.05):
                pass
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05), turn():
                    raise AssertionError("two had the turn")
        async with asyncio.timeout(1.0), turn():
            pass

    asyncio.run(main())


def _fresh() -> object:
    from contextvars import Context

    return Context()


def test_a_request_that_meets_a_lock_is_logged_and_counted(tmp_path: Path) -> None:
    lab = Lab(tmp_path / "lab")
    home, ready, log = lab.path / "prefect", tmp_path / "ready", lab.run_dir / "logs" / "prefect.log"
    log.parent.mkdir(parents=True)
    environment = service_environment(lab.path, "http://127.0.0.1:1/api") | {"PYTHONPATH": str(HERE.parents[1])}
    argv = [sys.executable, str(HERE / "impatient_server.py"), str(home), str(ready)]
    with log.open("ab") as file:
        server = subprocess.Popen(argv, env=environment, stdout=file, stderr=file, cwd=tmp_path)
    try:
        until(ready.exists, f"the server is ready; {log}", 120.0)
        url = ready.read_text().strip()
        with httpx.Client(timeout=60.0, trust_env=False) as client:
            assert client.post(f"{url}/flows/", json={"name": "before"}).status_code == 201
            assert locked(lab) == 0, log.read_text()[-2000:]
            with sqlite3.connect(home / "prefect.db", isolation_level=None) as holder:
                holder.execute("BEGIN EXCLUSIVE")
                assert client.post(f"{url}/flows/", json={"name": "during"}).status_code == 503
                holder.execute("ROLLBACK")
    finally:
        server.terminate()
        server.wait(60)
    said = log.read_text()
    assert "Encountered retryable exception in request" in said, f"the server answered 503 and said: {said[-2000:]!r}"
    assert locked(lab) > 0, said[-2000:]
