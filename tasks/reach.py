"""Reaching a station that may be away: its link is cut, its host restarts. An idea is not given up for that."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from nightlab.errors import StationError
from nightlab.records import StationPlace
from robots.client import StationClient
from tasks.context import LabContext

PAUSE_S = 2.0
"""Between two tries, wall seconds."""


async def reachable(
    lab: LabContext, campaign: str, iteration: str, places: Sequence[StationPlace]
) -> list[StationPlace]:
    """The places that can be worked at: all, where the first one answers; else those that do.

    While none does it waits, as long as the campaign goes on; the ledger is told once.

    Raises:
        StationError: the campaign ended while all of them were away.
    """
    told = False
    while True:
        error = await _silent(places[0])
        if error is None:
            return list(places)
        others = await asyncio.gather(*(_silent(place) for place in places[1:]))
        found = [place for place, silent in zip(places[1:], others, strict=True) if silent is None]
        if found:
            return found
        if not told:
            told = True
            station = places[0].station
            await lab.note(
                "station_fault", f"station_fault:{campaign}:{iteration}:{station}:{time.time_ns()}",
                campaign=campaign, iteration=iteration, station=station, reason=f"not reachable: {error}"[:500],
            )  # fmt: skip
        if lab.state(campaign).stop_reason(time.time()):
            raise error
        await asyncio.sleep(PAUSE_S)


async def _silent(place: StationPlace) -> StationError | None:
    """Why a station cannot be reached; None if it answers."""
    try:
        await (await StationClient.connect(place.address, keys=place.keys)).close()
    except StationError as error:
        return error
    return None
