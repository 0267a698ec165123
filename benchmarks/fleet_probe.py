"""The flow that `benchmarks.fleet_size` runs on every robot's pool: a live station flow that starts iterations."""

from __future__ import annotations

import asyncio
import json
import math
import random
import time
from pathlib import Path
from typing import Any

from prefect import flow

from flows.iteration import iteration, named
from flows.next_run import NextRun
from nightlab.records import Work, WorkKind


@flow(name="probe", flow_run_name="probe of {station}", persist_result=False)
async def probe(station: str, stations: int, n: int, every_s: float, takes_s: float, room: str) -> int:
    """Start iterations that have nothing to do; write down when each began to run and when it had ended, after its call.

    The first one runs while the others' flows still start; all further ones once all flows are live.

    Args:
        station: The robot whose pool runs this.
        stations: How many flows there are.
        n: At least so many iterations after the first one.
        every_s: Mean pause between two, wall seconds.
        takes_s: For so long further ones are started, wall seconds.
        room: A folder. `<station>.json` is left there: a list of pairs of wall seconds.
    """
    draw = random.Random(station)
    running: list[float] = []

    def runs(flow: Any, flow_run: Any, state: Any) -> None:
        running.append(time.monotonic())

    probed = iteration.with_options(on_running=[runs])
    took: list[tuple[float, float]] = []
    work = Work(kind=WorkKind.WAIT, campaign="C0", station=station, reason="probe")
    here = Path(room)
    until_s = math.inf
    async with NextRun(probed, campaign="C0", station=station) as begin:
        while len(took) <= n or time.monotonic() < until_s:
            begin_s = time.monotonic()
            await begin(named("", station), campaign="C0", station=station, work=work)
            took.append((running.pop() - begin_s, time.monotonic() - begin_s))
            (here / f"{station}.json").write_text(json.dumps(took))
            if len(took) == 1:
                (here / f"{station}.live").touch()
                while len(list(here.glob("*.live"))) < stations:
                    await asyncio.sleep(1.0)
                until_s = time.monotonic() + takes_s
                await asyncio.sleep(draw.uniform(0.0, every_s))
            else:
                await asyncio.sleep(draw.uniform(0.5, 1.5) * every_s)
    return len(took)
