"""Reaching a station that may be away: its link is cut, its host restarts. An idea is not given up for that."""

from __future__ import annotations

import asyncio
import time

from nightlab.errors import StationError
from robots.client import StationClient
from tasks.context import LabContext

PAUSE_S = 2.0
"""Between two tries, wall seconds."""


async def reach(lab: LabContext, campaign: str, iteration: str, station: str) -> StationClient:
    """A connection to the station, waiting for it as long as the campaign goes on; the ledger is told once.

    Raises:
        StationError: the campaign ended while the station was away.
    """
    told = False
    while True:
        try:
            place = lab.place(station)
            return await StationClient.connect(place.address, keys=place.keys)
        except StationError as error:
            if not told:
                told = True
                await lab.note(
                    "station_fault", f"station_fault:{campaign}:{iteration}:{station}:{time.time_ns()}",
                    campaign=campaign, iteration=iteration, station=station, reason=f"not reachable: {error}"[:500],
                )  # fmt: skip
            if lab.state(campaign).stop_reason(time.time()):
                raise
        await asyncio.sleep(PAUSE_S)
