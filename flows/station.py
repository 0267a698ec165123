"""One robot's flow, alive for the whole campaign: it keeps as many iterations going as the keeper hands out.

How many that is the keeper says (data/window.py); it answers WAIT when enough are under way or ideas come to nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from prefect import flow, get_run_logger

from flows.iteration import iteration, named
from flows.next_run import NextRun
from nightlab.errors import NightlabError
from nightlab.records import Work, WorkKind
from tasks.attendant import attend
from tasks.context import LabContext
from tasks.heart import heart, hearts_dir

PAUSE_S = 1.0
MOST_DOUBLINGS = 10
"""Of the pause after failures in a row, which is 30 s long before that."""


@flow(name="station", flow_run_name="{station} {campaign}", persist_result=False)
async def station(campaign: str, station: str) -> dict[str, Any]:
    """Serve one robot until the keeper says STOP.

    While one trial has the robot, the other iterations think, train and deploy; the keeper then gives each trial
    whichever robot of the kind is free next. A failing iteration ends in the ledger and does not end the station.

    Args:
        campaign: The campaign, e.g. `C1`.
        station: The robot, e.g. `robot-1`.
    """
    lab = LabContext.here()

    async with (
        heart(hearts_dir(lab.lab), f"station-{station}"),
        NextRun(iteration, campaign=campaign, station=station) as begin,
    ):
        return await serve(
            claim=lambda: next_work(lab, campaign, station, get_run_logger().warning),
            run=lambda work: begin(named(work.iteration, station), campaign=campaign, station=station, work=work),
            report=lambda error: get_run_logger().error("an iteration failed: %s", error),
        )


async def next_work(lab: LabContext, campaign: str, station: str, warn: Callable[[str], None]) -> Work:
    """The keeper's next work for the station. One that is parked in simulation is seen to meanwhile.

    Args:
        lab: The lab.
        campaign: The campaign.
        station: The robot.
        warn: Told when its scene was laid anew, or cannot be: its server may be away for a moment.
    """
    work = await lab.keeper.claim(campaign, station)
    if work.kind is WorkKind.WAIT and work.reason.startswith("parked"):
        try:
            if await attend(lab, campaign, station):
                warn(f"{station} works again: the simulated person has laid its scene anew")
        except (NightlabError, OSError) as error:
            warn(f"{station} stays parked, its scene cannot be laid anew now and will be tried again: {error}")
    return work


async def serve(
    claim: Callable[[], Awaitable[Work]],
    run: Callable[[Work], Coroutine[Any, Any, Any]],
    report: Callable[[BaseException], None],
    pause_s: float = PAUSE_S,
) -> dict[str, Any]:
    """Run whatever `claim` hands out, side by side, until it says STOP and the last has ended.

    Args:
        claim: The next unit of work; WAIT: not now, ask again later or when one has ended.
        run: One iteration.
        report: Told of each iteration that raised.
        pause_s: Pause after two iterations in a row that raised, doubled with each further one, at most 30 s.
    """
    now = asyncio.get_running_loop().time
    running: set[asyncio.Task[Any]] = set()
    done, failed, in_a_row, stop = 0, 0, 0, ""
    ask_at = resume_at = now()
    """When to ask again; not before `resume_at`, whatever ends."""
    try:
        while not stop or running:
            while not stop and now() >= max(ask_at, resume_at):
                work = await claim()
                if work.kind is WorkKind.STOP:
                    stop = work.reason or "nothing left to do"
                elif work.kind is WorkKind.WAIT:
                    ask_at = now() + max(0.2, work.wait_s)
                else:
                    running.add(asyncio.create_task(run(work)))
            until_s = None if stop else max(0.0, max(ask_at, resume_at) - now())
            if not running:
                await asyncio.sleep(until_s or 0.0)
                continue
            finished, running = await asyncio.wait(running, timeout=until_s, return_when=asyncio.FIRST_COMPLETED)
            for task in finished:
                ask_at = now()
                error = task.exception()
                if error is None:
                    done, in_a_row = done + 1, 0
                else:
                    failed, in_a_row = failed + 1, in_a_row + 1
                    report(error)
                    resume_at = max(resume_at, now() + min(30.0, pause_s * 2.0 ** min(in_a_row - 2, MOST_DOUBLINGS)))
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
    return {"iterations": done, "failed": failed, "stopped": stop}
