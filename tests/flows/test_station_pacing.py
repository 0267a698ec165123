"""A station's window of iterations, without Prefect: it goes on asking after iterations that brought nothing."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from flows import station as module
from flows.station import next_work, serve
from nightlab.errors import StationError
from nightlab.records import Work, WorkKind


def work(number: int, kind: WorkKind = WorkKind.SEARCH, **more: Any) -> Work:
    return Work(kind=kind, campaign="C1", iteration=f"I{number}", **more)


def test_failures_in_every_place_of_the_window_do_not_stop_the_asking() -> None:
    handed = iter([*(work(n) for n in range(1, 8)), work(0, WorkKind.STOP, reason="budget used")])
    told: list[str] = []

    async def claim() -> Work:
        return next(handed)

    async def run(one: Work) -> dict[str, str]:
        await asyncio.sleep(0.001)
        if one.iteration in ("I1", "I2", "I3"):
            raise RuntimeError(one.iteration)
        return {"status": "decided"}

    async def all_of_it() -> dict[str, Any]:
        return await asyncio.wait_for(serve(claim, run, lambda error: told.append(str(error)), pause_s=0.01), 10)

    assert asyncio.run(all_of_it()) == {"iterations": 4, "failed": 3, "stopped": "budget used"}
    assert sorted(told) == ["I1", "I2", "I3"]


def test_waiting_is_not_an_iteration() -> None:
    handed = iter([work(0, WorkKind.WAIT, wait_s=0.2), work(1), work(0, WorkKind.STOP, reason="solved")])

    async def claim() -> Work:
        return next(handed)

    async def run(one: Work) -> dict[str, str]:
        return {"status": "decided"}

    ended = asyncio.run(asyncio.wait_for(serve(claim, run, print), 10))
    assert ended == {"iterations": 1, "failed": 0, "stopped": "solved"}


def test_a_thousand_failures_in_a_row_do_not_end_the_station() -> None:
    handed = iter([*(work(n) for n in range(1100)), work(0, WorkKind.STOP, reason="budget used")])

    async def claim() -> Work:
        return next(handed)

    async def run(one: Work) -> dict[str, str]:
        raise RuntimeError(one.iteration)

    ended = asyncio.run(asyncio.wait_for(serve(claim, run, lambda _: None, pause_s=0.0), 60))
    assert ended == {"iterations": 0, "failed": 1100, "stopped": "budget used"}


def test_a_parked_station_whose_server_is_away_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    answers: list[bool | Exception] = [
        StationError("no admin token at robot-1.sock.token"), FileNotFoundError("run/state.json"), False, True
    ]  # fmt: skip
    told: list[str] = []

    async def attend(lab: Any, campaign: str, station: str) -> bool:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    class Lab:
        class keeper:
            @staticmethod
            async def claim(campaign: str, station: str) -> Work:
                return work(0, WorkKind.WAIT, reason="parked: the pin lies on the table")

    monkeypatch.setattr(module, "attend", attend)

    async def all_of_it() -> None:
        for _ in range(4):
            asked = await next_work(Lab(), "C1", "robot-1", told.append)  # type: ignore[arg-type]
            assert asked.kind is WorkKind.WAIT

    asyncio.run(all_of_it())
    assert told == [
        "robot-1 stays parked, its scene cannot be laid anew now and will be tried again: no admin token at "
        "robot-1.sock.token",
        "robot-1 stays parked, its scene cannot be laid anew now and will be tried again: run/state.json",
        "robot-1 works again: the simulated person has laid its scene anew",
    ]
