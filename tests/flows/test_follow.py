"""Flow runs that are waited for together, without Prefect."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from itertools import pairwise
from uuid import UUID, uuid4

import pytest
from prefect.client.schemas.objects import State, StateType

from flows.follow import SHARE, Followed

RUNNING = State(type=StateType.RUNNING)
COMPLETED = State(type=StateType.COMPLETED)
CRASHED = State(type=StateType.CRASHED)


class Server:
    """Answers after so many looks that a run has ended."""

    def __init__(self, ends: dict[UUID, tuple[int, State]]) -> None:
        self.ends, self.asked = ends, [set[UUID]()]

    async def __call__(self, runs: Collection[UUID]) -> dict[UUID, State | None]:
        self.asked.append(set(runs))
        looks = len(self.asked) - 1
        return {run: end if looks >= at else RUNNING for run, (at, end) in self.ends.items() if run in runs}


def test_all_are_asked_for_in_one_request_and_each_ends_by_itself() -> None:
    runs = [uuid4() for _ in range(32)]
    server = Server(
        {run: (3 if run == runs[0] else 5, COMPLETED if number % 2 else CRASHED) for number, run in enumerate(runs)}
    )

    async def all_of_them() -> list[State | None]:
        followed = Followed(server, look_s=0.05)
        return await asyncio.gather(*(followed.end(run) for run in runs))

    assert asyncio.run(all_of_them()) == [CRASHED, COMPLETED] * 16
    assert server.asked[1:] == [set(runs)] * 3 + [set(runs[1:])] * 2, "five looks for all 32"


def test_a_server_that_is_slow_is_asked_less_often() -> None:
    run, looks = uuid4(), list[float]()

    async def slow(runs: Collection[UUID]) -> dict[UUID, State | None]:
        looks.append(asyncio.get_running_loop().time())
        await asyncio.sleep(0.02)
        return {run: RUNNING if len(looks) < 3 else COMPLETED}

    assert asyncio.run(Followed(slow, look_s=0.01).end(run)) == COMPLETED
    assert min(later - earlier for earlier, later in pairwise(looks)) >= 0.02 / SHARE, (
        "a look takes a twentieth of the time"
    )


def test_one_that_was_deleted_is_not_waited_for() -> None:
    async def one() -> State | None:
        return await Followed(Server({}), look_s=0.01).end(uuid4())

    assert asyncio.run(one()) is None


def test_a_server_that_is_away_is_an_error_and_waiting_goes_on_afterwards() -> None:
    run, away = uuid4(), [True]
    server = Server({run: (1, COMPLETED)})

    async def read(runs: Collection[UUID]) -> dict[UUID, State | None]:
        if away:
            away.pop()
            raise ConnectionError("the server is away")
        return await server(runs)

    async def twice() -> State | None:
        followed = Followed(read, look_s=0.01)
        with pytest.raises(ConnectionError, match="the server is away"):
            await followed.end(run)
        return await followed.end(run)

    assert asyncio.run(twice()) == COMPLETED
