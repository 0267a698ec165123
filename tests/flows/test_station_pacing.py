"""A station's window of iterations, without Prefect: it goes on asking after iterations that brought nothing."""

from __future__ import annotations

import asyncio
from typing import Any

from flows.station import serve
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
