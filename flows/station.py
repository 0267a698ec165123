"""One robot's flow, alive for the whole campaign: it keeps a window of iterations going so that the robot never waits."""

from __future__ import annotations

import asyncio
from typing import Any

from prefect import flow, get_run_logger

from flows.iteration import iteration
from nightlab.records import IterationStatus, WorkKind
from tasks.context import LabContext

FRUITLESS = (IterationStatus.NO_CHANGE, IterationStatus.CRASHED, IterationStatus.REJECTED, IterationStatus.INVALID)
"""Ends that brought no result: several in a row slow the station's asking down."""


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
    window = lab.spec(campaign).window
    running: set[asyncio.Task[Any]] = set()
    done, failed, in_a_row, stop = 0, 0, 0, ""
    try:
        while not stop or running:
            while not stop and len(running) < window:
                work = await lab.keeper.claim(campaign, station)
                if work.kind is WorkKind.STOP:
                    stop = work.reason or "nothing left to do"
                elif work.kind is WorkKind.WAIT:
                    running.add(asyncio.create_task(asyncio.sleep(max(0.2, work.wait_s))))
                else:
                    running.add(asyncio.create_task(iteration(campaign, station, work)))
            if not running:
                break
            finished, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            for task in finished:
                if task.exception() is not None:
                    failed, in_a_row = failed + 1, in_a_row + 1
                    get_run_logger().error("an iteration failed: %s", task.exception())
                elif task.result() is not None:
                    done += 1
                    in_a_row = in_a_row + 1 if task.result()["status"] in FRUITLESS else 0
                if in_a_row and not stop:
                    running.add(asyncio.create_task(asyncio.sleep(min(30.0, 0.25 * 2**in_a_row))))
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
    return {"iterations": done, "failed": failed, "stopped": stop}
