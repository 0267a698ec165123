"""Flows for the tests of pools and deployments: no robots, no keeper."""

import asyncio
import os
import time
from pathlib import Path

from prefect import flow
from prefect.runtime import flow_run

from nightlab.records import CampaignSpec


@flow(name="inner")
async def inner(out: str, sleep_s: float) -> None:
    """Write its own run's id and the pid of its process, then sleep."""
    Path(out).write_text(f"{flow_run.id} {os.getpid()}\n")
    await asyncio.sleep(sleep_s)


@flow(name="station", flow_run_name="station {station}")
async def station(station: str, out: str, sleep_s: float = 0.0, nested: bool = False) -> str:
    """Write the time of the first line of the body, then sleep; nested: leave both to a subflow."""
    if nested:
        await inner(out, sleep_s)
        return station
    Path(out).write_text(f"{time.time()} {os.getpid()} {station}\n")
    try:
        await asyncio.sleep(sleep_s)
    finally:
        Path(out + ".finally").write_text(f"{time.time()}\n")
    return station


@flow(name="campaign")
async def campaign(out: str, episodes: int = 1, spec: CampaignSpec | None = None) -> int:
    """Append the pid each time it runs."""
    with open(out, "a") as file:
        file.write(f"{os.getpid()}\n")
    await asyncio.sleep(0.1 if Path(out).read_text().count("\n") > 1 else episodes)
    return episodes
