"""The flow that `benchmarks.fleet_size` runs on every robot's pool: a live station flow that starts iterations."""

from __future__ import annotations

import asyncio
import json
import random
import time
from pathlib import Path
from typing import Any

from prefect import flow

from flows.iteration import iteration
from nightlab.records import Work, WorkKind


@flow(name="probe", flow_run_name="probe of {station}", persist_result=False)
async def probe(station: str, n: int, every_s: float, until_s: float, out: str) -> int:
    """Start iterations that have nothing to do; write down when each began to run and when it had ended, after its call.

    Args:
        station: The robot whose pool runs this.
        n: At least so many iterations.
        every_s: Mean pause between two, wall seconds.
        until_s: Wall time until which further ones are started.
        out: A JSON list of pairs of wall seconds is left there.
    """
    draw = random.Random(station)
    running: list[float] = []

    def runs(flow: Any, flow_run: Any, state: Any) -> None:
        running.append(time.monotonic())

    probed = iteration.with_options(on_running=[runs])
    took: list[tuple[float, float]] = []
    work = Work(kind=WorkKind.WAIT, campaign="C0", station=station, reason="probe")
    await asyncio.sleep(draw.uniform(0.0, every_s))
    while len(took) < n or time.time() < until_s:
        begin_s = time.monotonic()
        await probed("C0", station, work)
        took.append((running.pop() - begin_s, time.monotonic() - begin_s))
        await asyncio.sleep(draw.uniform(0.5, 1.5) * every_s)
    Path(out).write_text(json.dumps(took))
    return len(took)
