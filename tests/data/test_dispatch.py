"""Which waiting trial gets which free robot."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from data.dispatch import BOUND, FILLER, IDEA, Dispatcher, Request

BOTH = ("robot-1", "robot-2")


def ask(name: str, rank: int = IDEA, stations: tuple[str, ...] = BOTH) -> Request:
    return Request(("C1", name), rank, stations)


def run(body: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(body, 10))


def test_an_idea_goes_to_whichever_robot_is_free_next() -> None:
    async def body() -> None:
        desk = Dispatcher()
        assert [await desk.wait(ask("I1"), 1), await desk.wait(ask("I2"), 1)] == ["robot-1", "robot-2"]
        third = asyncio.create_task(desk.wait(ask("I3"), 5))
        await asyncio.sleep(0)
        desk.leave(("C1", "I2"))
        assert await third == "robot-2", "robot-1 is still busy"
        assert await desk.wait(ask("I3"), 1) == "robot-2", "whoever asks again keeps what it has"

    run(body())


def test_work_of_the_station_first_then_the_oldest_idea_then_filler() -> None:
    async def body() -> None:
        desk = Dispatcher()
        await desk.wait(ask("I1", stations=("robot-1",)), 1)
        names = {"E9": FILLER, "I2": IDEA, "I3": IDEA, "E1": BOUND}
        tasks = {n: asyncio.create_task(desk.wait(ask(n, rank, ("robot-1",)), 5)) for n, rank in names.items()}
        await asyncio.sleep(0)
        holder, order = "I1", []
        for _ in names:
            desk.leave(("C1", holder))
            await asyncio.sleep(0.01)
            (holder,) = [name for name, task in tasks.items() if task.done() and name not in order]
            order.append(holder)
        assert order == ["E1", "I2", "I3", "E9"]

    run(body())


def test_filler_gives_way_only_to_work_that_could_use_its_robot() -> None:
    async def body() -> None:
        desk = Dispatcher()
        await desk.wait(ask("E1", FILLER, ("robot-1",)), 1)
        assert not desk.wanted(("C1", "E1"))
        other = asyncio.create_task(desk.wait(ask("E2", FILLER, ("robot-1",)), 5))
        await asyncio.sleep(0)
        assert not desk.wanted(("C1", "E1")), "filler does not give way to filler"
        idea = asyncio.create_task(desk.wait(ask("I1", stations=("robot-1",)), 5))
        await asyncio.sleep(0)
        assert desk.wanted(("C1", "E1"))
        desk.leave(("C1", "E1"))
        assert await idea == "robot-1"
        other.cancel()
        await asyncio.gather(other, return_exceptions=True)

    run(body())


def test_parked_stations_get_nothing_and_who_gives_up_asking_is_not_served() -> None:
    async def body() -> None:
        closed = {"robot-1"}
        desk = Dispatcher(lambda campaign: closed)
        assert await desk.wait(ask("I1", stations=("robot-1",)), 0.01) == ""
        closed.clear()
        assert await desk.wait(ask("I2"), 1) == "robot-1", "I1 does not listen now, so nothing is kept for it"
        gone = asyncio.create_task(desk.wait(ask("I3", stations=("robot-1",)), 5))
        await asyncio.sleep(0)
        gone.cancel()
        await asyncio.gather(gone, return_exceptions=True)
        desk.leave(("C1", "I2"))
        assert desk.holders == {}

    run(body())
