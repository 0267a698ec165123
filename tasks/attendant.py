"""The simulated person: a parked simulated station is seen to after a while, as a real one is by whoever was paged.

A reset that used up its attempts parks its station until `nightlab unpark`. Nobody can walk up to a simulated cell, and a
night in which one dropped pin costs half the robots says little about a lab with people. So after `ATTENDS_AFTER_s` of
station time the scene is laid anew. The time is lost to the campaign, and ledger and report say who came and why. Real
stations and e-stops wait for a real person.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from nightlab.records import Event, StationPlace
from tasks.context import LabContext

ATTENDS_AFTER_s = 300.0
"""From the page to the person's arrival, station seconds."""
NOTE = "the simulated person came after 5 minutes of station time"


async def lay_anew(place: StationPlace, profile: str) -> None:
    """Configure a simulated station as it was started: a fresh scene."""
    from robots.admin import AdminClient

    assert place.admin_socket is not None
    admin = await AdminClient.connect(Path(place.admin_socket))
    try:
        await admin.configure(profile, place.station_seed)
    finally:
        await admin.close()


async def attend(
    lab: LabContext,
    campaign: str,
    station: str,
    lay: Callable[[StationPlace, str], Awaitable[None]] = lay_anew,
) -> bool:
    """Lay the scene of `station` anew if it is simulated, was parked by its reset, and has waited long enough.

    Args:
        lab: the lab.
        campaign: the campaign that it is parked in.
        station: the parked station.
        lay: lays the scene of a place anew, given its profile.

    Returns:
        Whether it works again.
    """
    parked = _parked(lab, campaign, station)
    place = lab.place(station)
    if parked is None or "reset" not in parked.data or place.admin_socket is None:
        return False
    declared = next(one for one in lab.lab.config.stations if one.station == station)
    if (time.time() - parked.wall_s) * (declared.speed or 1.0) < ATTENDS_AFTER_s:
        return False
    await lay(place, declared.profile)
    await lab.note(
        "station_unparked", f"station_unparked:{parked.event_id}", campaign=campaign, station=station,
        note=NOTE, was=str(parked.data.get("reason", "")), scene_laid_anew=True,
    )  # fmt: skip
    return True


def _parked(lab: LabContext, campaign: str, station: str) -> Event | None:
    """The event that parked the station, if it still stands."""
    found: Event | None = None
    for kind in ("station_parked", "station_unparked"):
        for event in lab.ledger.events(campaign=campaign, kind=kind):
            if event.station != station:
                continue
            if kind == "station_parked":
                found = event
            elif found is not None and event.seq > found.seq:
                found = None
    return found
