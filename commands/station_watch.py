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
from commands.unpark import note_parked
from data.estops import REASON, cleared_event, estop_events
from data.keeper_client import KeeperClient
from data.ledger import LedgerReader
from nightlab.errors import NightlabError
from nightlab.records import StationPlace
from robots.client import StationClient

if TYPE_CHECKING:
    from pathlib import Path

    from data.lab import Lab
    from nightlab.records import Event

LOOK_S: Final = 1.0
"""Pause between two looks at a station, wall seconds."""
ANSWER_S: Final = 2.0
LEDGER_S: Final = 10.0
"""How often the ledger is asked whether a free station is still parked: an e-stop may be over between two looks."""
log = logging.getLogger("nightlab.fleet")
KINDS: Final = ("campaign_started", "campaign_ended", "station_parked", "station_unparked")
"""Events of the ledger that say which campaign runs and who is parked."""
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
    keeper, standing = KeeperClient(lab.keeper_socket), Standing(lab.ledger_path)
    watches: dict[str, StationWatch] = {}
    try:
        while True:
            state = read_state(lab)
            for place in state.stations if state is not None else ():
                known = watches.get(place.station)
                if known is None or known.place != place:
                    if known is not None:
                        await known.close()
                    watches[place.station] = StationWatch(standing, place, keeper, tell)
            for failed in await asyncio.gather(*(one.look() for one in watches.values()), return_exceptions=True):
                if isinstance(failed, Exception):  # the fleet serves on, whatever it was
                    log.error("a station could not be watched: %s: %s", type(failed).__name__, failed)
            await asyncio.sleep(look_s)
    finally:
        for one in watches.values():
            await one.close()
        await keeper.close()
        standing.close()


class Standing:
    """What the ledger says of the campaign and of parked stations, for all watches: a look reads only what is new."""

    def __init__(self, path: Path) -> None:
        self.campaign = ""
        """The campaign that runs; empty: none does."""
        self.parked: dict[str, tuple[str, str]] = {}
        """As `commands.unpark.parked_stations` has it: station → campaign and reason."""
        self._path, self._seq = path, 0
        self._reader: LedgerReader | None = None
        self._reading = asyncio.Lock()

    async def refresh(self) -> None:
        """Read on. SQLite may make a reader wait for seconds, so a thread does it."""
        async with self._reading:
            self._seq, news = await asyncio.to_thread(self._news)
            for event in news:
                note_parked(self.parked, event)
                if event.kind == "campaign_started":
                    self.campaign = event.campaign
                elif event.kind == "campaign_ended" and event.campaign == self.campaign:
                    self.campaign = ""

    def close(self) -> None:
        """Close the ledger."""
        if self._reader is not None:
            self._reader.close()

    def _news(self) -> tuple[int, list[Event]]:
        if self._reader is None:
            if not self._path.exists():
                return 0, []
            self._reader = LedgerReader(self._path)
        newest = self._reader.last_seq()
        if newest == self._seq:
            return newest, []
        found = [event for kind in KINDS for event in self._reader.events(kind=kind, since=self._seq)]
        return newest, sorted((event for event in found if event.seq <= newest), key=lambda event: event.seq)


class StationWatch:
    """One station, and whether its e-stop held at the last look (None: it was not looked at yet)."""

    def __init__(self, standing: Standing, place: StationPlace, keeper: KeeperClient, tell: Tell) -> None:
        self.place = place
        self._standing, self._keeper, self._tell = standing, keeper, tell
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
        await self._standing.refresh()
        station, campaign = self.place.station, self._standing.campaign
        for event in estop_events(station, campaign, reason, since_s):
            await self._keeper.append(event)
        self._tell(ESTOPPED, station, {"campaign": campaign, "reason": reason})

    async def _cleared(self) -> None:
        await self._standing.refresh()
        station, (campaign, reason) = self.place.station, self._standing.parked.get(self.place.station, ("", ""))
        if REASON.strip() in reason:
            await self._keeper.append(cleared_event(station, campaign, reason, time.time()))
        if self._held:
            self._tell(CLEARED, station, {"campaign": campaign})
