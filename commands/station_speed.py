"""At what speed stations run that are served elsewhere: their own servers set it, and a campaign takes it from them."""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Iterable, Mapping, Sequence

from nightlab.errors import NightlabError, StationError
from nightlab.records import StationConfig
from robots.client import StationClient

ANSWER_S = 3.0
"""How long a station may take to say its speed, wall seconds."""


async def own_speeds(served: Mapping[str, str]) -> dict[str, float]:
    """What stations say their speed is, by address, for those that answer.

    Args:
        served: keys by address.

    Raises:
        UsageError: a folder with keys lacks a part.
    """
    speeds: dict[str, float] = {}

    async def ask(address: str, keys: str) -> None:
        with contextlib.suppress(StationError):
            client = await StationClient.connect(address, keys=keys, timeout_s=ANSWER_S)
            try:
                speeds[address] = (await client.describe()).speed
            finally:
                await client.close()

    await asyncio.gather(*(ask(address, keys) for address, keys in served.items()))
    return speeds


def slowest(speeds: Iterable[float]) -> float:
    """The speed of a campaign at stations that run at these; 1 if none is known: a real robot's."""
    return min(speeds, key=lambda speed: speed or math.inf, default=1.0)


async def campaign_speed(stations: Sequence[StationConfig]) -> float:
    """The speed of a campaign at a lab's stations: what `lab.yaml` gives its own ones, else what served ones say."""
    own = [station.speed for station in stations if not station.remote]
    if own:
        return own[0]
    try:
        speeds = await own_speeds({station.address: station.keys for station in stations})
    except NightlabError:
        speeds = {}
    return slowest(speeds.values())
