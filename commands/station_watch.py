"""Tells ledger and Prefect what happens to the stations: the fleet asks each of them once in a while.

A latched e-stop is an `estop` event, and parks the station: the campaign goes on with the others. Clearing it gives the
station work again. Both are Prefect events too (`nightlab.station.estopped`, `nightlab.station.cleared`), to which an
automation can tie a message. Whoever pressed it (CLI, gRPC, key, a hard limit) makes no difference; event ids come from
the instant of the e-stop, so that nothing is written twice.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from commands.lab_state import read_state
from commands.unpark import parked_stations
from data.estops import REASON, cleared_event, estop_events, running_campaign
from data.keeper_client import KeeperClient
from data.ledger import LedgerReader
from nightlab.errors import NightlabError
from nightlab.records import StationPlace
from robots.client import StationClient

if TYPE_CHECKING:
    from data.lab import Lab

LOOK_S: Final = 1.0
"""Pause between two looks at a station, wall seconds."""
ANSWER_S: Final = 2.0
LEDGER_S: Final = 10.0
"""How often the ledger is asked whether a free station is still parked: an e-stop may be over between two looks."""
log = logging.getLogger("nightlab.fleet")
ESTOPPED, CLEARED = "nightlab.station.estopped", "nightlab.station.cleared"

Tell = Callable[[str, str, dict[str, Any]], None]
"""(event, station, payload) → Prefect."""


def tell_prefect(event: str, station: str, payload: dict[str, Any]) -> None:
    """Emit a Prefect event about a station."""
    from prefect.events import emit_event

    resource = {"prefect.resource.id": f"nightlab.station.{station}", "prefect.resource.name": station}
    emit_event(event=event, resource=resource, payload=payload)


async def watch(lab: Lab, tell: Tell = tell_prefect, look_s: float = LOOK_S) -> None:
    """Look until cancelled. A station that does not answer is no news: its supervisor sees to it."""
    keeper = KeeperClient(lab.keeper_socket)
    watches: dict[str, StationWatch] = {}
    try:
        while True:
            state = read_state(lab)
            for place in state.stations if state is not None else ():
                known = watches.get(place.station)
                if known is None or known.place != place:
                    if known is not None:
                        await known.close()
                    watches[place.station] = StationWatch(lab, place, keeper, tell)
            for failed in await asyncio.gather(*(one.look() for one in watches.values()), return_exceptions=True):
                if isinstance(failed, Exception):  # the fleet serves on, whatever it was
                    log.error("a station could not be watched: %s: %s", type(failed).__name__, failed)
            await asyncio.sleep(look_s)
    finally:
        for one in watches.values():
            await one.close()
        await keeper.close()


class StationWatch:
    """One station, and whether its e-stop held at the last look (None: it was not looked at yet)."""

    def __init__(self, lab: Lab, place: StationPlace, keeper: KeeperClient, tell: Tell) -> None:
        self.place = place
        self._lab, self._keeper, self._tell = lab, keeper, tell
        self._client: StationClient | None = None
        self._held: bool | None = None
        self._look_again_s = 0.0

    async def look(self) -> None:
        """Ask the station once, and write down what is new."""
        try:
            async with asyncio.timeout(ANSWER_S):
                if self._client is None:
                    self._client = await StationClient.connect(
                        self.place.address, keys=self.place.keys, timeout_s=ANSWER_S
                    )
                stats = await self._client.stats()
        except (NightlabError, TimeoutError, OSError):
            await self.close()
            return
        try:
            if stats.estop and not self._held:
                await self._estopped(stats.estop, stats.estop_s)
            elif not stats.estop and (self._held is not False or time.monotonic() > self._look_again_s):
                await self._cleared()
                self._look_again_s = time.monotonic() + LEDGER_S
        except (NightlabError, OSError):
            return  # the keeper is away: the next look tries again
        self._held = bool(stats.estop)

    async def close(self) -> None:
        """Close the connection."""
        client, self._client = self._client, None
        if client is not None:
            with contextlib.suppress(NightlabError, OSError):
                await client.close()

    async def _estopped(self, reason: str, since_s: float) -> None:
        station = self.place.station
        events = LedgerReader(self._lab.ledger_path).events() if self._lab.ledger_path.exists() else []
        campaign = running_campaign(events)
        for event in estop_events(station, campaign, reason, since_s):
            await self._keeper.append(event)
        self._tell(ESTOPPED, station, {"campaign": campaign, "reason": reason})

    async def _cleared(self) -> None:
        station, (campaign, reason) = self.place.station, parked_stations(self._lab).get(self.place.station, ("", ""))
        if REASON.strip() in reason:
            await self._keeper.append(cleared_event(station, campaign, reason, time.time()))
        if self._held:
            self._tell(CLEARED, station, {"campaign": campaign})
