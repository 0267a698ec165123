"""What the ledger says of a latched e-stop: that it was pressed, and that the station waits for a person."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from nightlab.records import Event, EventKind

REASON = "e-stop: "
"""How the reason of a station begins that was parked by an e-stop."""


def estop_events(station: str, campaign: str, reason: str, since_s: float, iteration: str = "") -> list[Event]:
    """Both events; whoever sees the e-stop writes them, and the ledger keeps one of each.

    Args:
        station: that latched it.
        campaign: that runs; empty: none.
        reason: of the e-stop.
        since_s: wall clock at which the station latched it; the events' ids are made of it.
        iteration: whose trial met it.
    """
    at, fix = f"{since_s:.3f}", f"Look at the cell, then: nightlab estop {station} --clear"
    said = reason.removeprefix(REASON)
    return [
        station_event("estop", station, campaign, since_s, at, {"reason": said}, iteration),
        station_event(
            "station_parked",
            station,
            campaign,
            since_s,
            f"estop:{at}",
            {"reason": REASON + said, "fix": fix},
            iteration,
        ),
    ]


def cleared_event(station: str, campaign: str, was: str, wall_s: float) -> Event:
    """The station works again."""
    data = {"note": "e-stop cleared", "was": was}
    return station_event("station_unparked", station, campaign, wall_s, f"estop:{wall_s:.3f}", data)


def running_campaign(events: Iterable[Event]) -> str:
    """The campaign that runs, of `campaign_started` and `campaign_ended` events in order; empty: none does."""
    campaign = ""
    for event in events:
        if event.kind == "campaign_started":
            campaign = event.campaign
        elif event.kind == "campaign_ended" and event.campaign == campaign:
            campaign = ""
    return campaign


def station_event(
    kind: EventKind, station: str, campaign: str, wall_s: float, at: str, data: dict[str, Any], iteration: str = ""
) -> Event:
    """An event about a station; `at` makes its id."""
    return Event(
        event_id=f"{kind}:{station}:{at}", kind=kind, campaign=campaign, iteration=iteration, station=station,
        wall_s=wall_s, data=data,
    )  # fmt: skip
