"""One robot's flow, alive for the whole campaign: it keeps a window of iterations going so that the robot never waits."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from prefect import flow, get_run_logger

from flows.iteration import iteration
from nightlab.records import IterationStatus, Work, WorkKind
from tasks.context import LabContext
from tasks.heart import heart, hearts_dir

FRUITLESS = (IterationStatus.NO_CHANGE, IterationStatus.CRASHED, IterationStatus.REJECTED, IterationStatus.INVALID)
"""Ends that brought no result: several in a row slow the station's asking down."""
PAUSE_S = 1.0


@flow(name="station", flow_run_name="{station} {campaign}", persist_result=False)
async def station(campaign: str, station: str) -> dict[str, Any]:
    """Serve one robot until the keeper says STOP.

    While one iteration has the robot (its trial holds the station's lease), the others of the window think, train and
    deploy; the lease is handed over first come, first served. A failing iteration ends in the ledger and does not end
    the station.

    Args:
        campaign: The campaign, e.g. `C1`.
        station: The robot, e.g. `robot-1`.
    """
    lab = LabContext.here()
    async with heart(hearts_dir(lab.lab), f"station-{station}"):
        return await serve(
            claim=lambda: lab.keeper.claim(campaign, station),
            run=lambda work: iteration(campaign, station, work),
            window=lab.spec(campaign).window,
            report=lambda error: get_run_logger().error("an iteration failed: %s", error),
        )


async def serve(
    claim: Callable[[], Awaitable[Work]],
    run: Callable[[Work], Coroutine[Any, Any, Any]],
    window: int,
    report: Callable[[BaseException], None],
    pause_s: float = PAUSE_S,
) -> dict[str, Any]:
    """Keep `window` iterations going until `claim` says STOP; a fruitless one leaves its place empty for a while.

    Args:
        claim: The next unit of work.
        run: One iteration; returns its end, with `status`.
        window: Iterations side by side.
        report: Told of each iteration that raised.
        pause_s: Pause after two fruitless iterations in a row, doubled with each further one, at most 30 s.
    """
    running: set[asyncio.Task[Any]] = set()
    done, failed, in_a_row, stop = 0, 0, 0, ""
    try:
        while not stop or running:
            while not stop and len(running) < window:
                work = await claim()
                if work.kind is WorkKind.STOP:
                    stop = work.reason or "nothing left to do"
                elif work.kind is WorkKind.WAIT:
                    running.add(asyncio.create_task(asyncio.sleep(max(0.2, work.wait_s))))
                else:
                    running.add(asyncio.create_task(run(work)))
            if not running:
                break
            finished, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            for task in finished:
                error = task.exception()
                if error is not None:
                    failed += 1
                    report(error)
                elif task.result() is None:  # a pause is over: its place is free
                    continue
                else:
                    done += 1
                fruitless = error is not None or task.result()["status"] in FRUITLESS
                in_a_row = in_a_row + 1 if fruitless else 0
                if fruitless and not stop:
                    running.add(asyncio.create_task(asyncio.sleep(min(30.0, pause_s * 2 ** (in_a_row - 2)))))
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
    return {"iterations": done, "failed": failed, "stopped": stop}
