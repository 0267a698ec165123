"""`nightlab unpark`: a person has seen to a station whose reset had given up; it gets work again.

A simulated station has nobody to tidy it up, so its scene is laid anew (`--keep-scene` leaves it as it is).
"""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nightlab.errors import UsageError

if TYPE_CHECKING:
    from data.lab import Lab
    from nightlab.records import Event


def unpark(
    station: Annotated[str, typer.Argument(help="Station that may work again, e.g. robot-1")],
    lab: Annotated[Path, typer.Option(help="Lab directory")] = Path("lab"),
    note: Annotated[str, typer.Option(help="What was wrong; stands in the ledger")] = "",
    keep_scene: Annotated[bool, typer.Option("--keep-scene", help="Do not lay a simulated scene anew")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object")] = False,
) -> None:
    """Give a parked station work again."""
    from commands.lab_state import read_state
    from data.keeper_client import SyncKeeperClient
    from data.lab import Lab
    from nightlab.records import Event
    from tasks.attendant import lay_anew

    opened = Lab.open(lab)
    parked = parked_stations(opened)
    if station not in parked:
        raise UsageError.unknown("parked station", station, parked, f"nightlab status --lab {lab}")
    campaign, reason = parked[station]
    state = read_state(opened)
    place = next((place for place in state.stations if place.station == station), None) if state else None
    laid = False
    if place is not None and place.admin_socket is not None and not keep_scene:
        profiles = {config.station: config.profile for config in opened.config.stations}
        asyncio.run(lay_anew(place, profiles[station]))
        laid = True
    data: dict[str, Any] = {"note": note, "was": reason, "scene_laid_anew": laid}
    with SyncKeeperClient(opened.keeper_socket, retry_s=5.0) as keeper:
        keeper.append(
            Event(
                event_id=f"station_unparked:{station}:{time.time_ns()}", kind="station_unparked", campaign=campaign,
                station=station, wall_s=time.time(), data=data,
            )
        )  # fmt: skip
    facts = {"station": station, "campaign": campaign, **data}
    typer.echo(json.dumps(facts) if as_json else f"{station} works again{'; its scene was laid anew' if laid else ''}")


def parked_stations(lab: Lab) -> dict[str, tuple[str, str]]:
    """Parked stations of the lab's latest campaign: station → campaign and reason."""
    from data.ledger import LedgerReader

    found: dict[str, tuple[str, str]] = {}
    if not lab.ledger_path.exists():
        return found
    for event in LedgerReader(lab.ledger_path).events():
        note_parked(found, event)
    return found


def note_parked(parked: dict[str, tuple[str, str]], event: Event) -> None:
    """Bring what `parked_stations` says up to date with the next event of the ledger."""
    if event.kind == "campaign_started":
        parked.clear()
    elif event.kind == "station_parked":
        parked[event.station] = (event.campaign, str(event.data.get("reason", "")))
    elif event.kind == "station_unparked":
        parked.pop(event.station, None)
