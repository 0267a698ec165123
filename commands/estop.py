"""`nightlab estop`: stop motion now. Talks to the station servers alone; needs neither Prefect nor the keeper."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nightlab.errors import NightlabError, StationError, UsageError

if TYPE_CHECKING:
    from data.lab import Lab
    from nightlab.records import StationPlace

CALL_S = 2.0
"""How long a station may take to answer, wall seconds."""


def estop(
    station: Annotated[str, typer.Argument(help="Station to stop, e.g. robot-1; default: all")] = "",
    lab: Annotated[Path, typer.Option(help="Lab directory")] = Path("lab"),
    reason: Annotated[str, typer.Option(help="Stands in the ledger and in the station's errors")] = "nightlab estop",
    clear: Annotated[bool, typer.Option("--clear", help="Allow motion again")] = False,
) -> None:
    """Stop every robot of the lab, or one, at once. Robots hold until `nightlab estop --clear`."""
    from commands.lab_state import read_state
    from data.lab import Lab

    opened = Lab.open(lab)
    state = read_state(opened)
    places = state.stations if state is not None else ()
    if station:
        known = [place.station for place in places]
        places = tuple(place for place in places if place.station == station)
        if not places:
            raise UsageError.unknown("station", station, known, f"nightlab status --lab {lab}")
    if not places:
        raise StationError(f"no station of {lab} is known; the lab was never up. See: nightlab status --lab {lab}")
    failed = asyncio.run(stop_stations(places, reason, clear=clear, say=typer.echo))
    note(opened, [place.station for place in places if place.station not in failed], reason, clear=clear)
    if len(failed) == len(places) and (state is None or not state.supervisor.alive):
        raise StationError(f"the lab {lab} is down: none of its station servers runs. See: nightlab status --lab {lab}")
    if failed:
        raise StationError(
            f"{', '.join(sorted(failed))} did not answer: "
            f"{'; '.join(failed.values())}. If it moves, cut its power; see: nightlab status --lab {lab}"
        )


async def stop_stations(
    places: tuple[StationPlace, ...], reason: str, *, clear: bool = False, say: typer.Typer | object = print
) -> dict[str, str]:
    """Stop all stations at the same time.

    Returns:
        Why, by station, for those that did not confirm within `CALL_S`.
    """
    from robots.client import StationClient

    failed: dict[str, str] = {}

    async def stop(place: StationPlace) -> None:
        begin_s = time.monotonic()
        try:
            async with asyncio.timeout(CALL_S):
                client = await StationClient.connect(place.address, timeout_s=CALL_S)
                try:
                    await (client.clear_estop() if clear else client.estop(reason))
                finally:
                    await client.close()
        except (NightlabError, TimeoutError, OSError) as error:
            failed[place.station] = str(error) or f"no answer within {CALL_S:g} s"
            return
        if callable(say):
            done = "may move again" if clear else "stopped"
            say(f"{place.station} {done} ({1000 * (time.monotonic() - begin_s):.0f} ms)")

    await asyncio.gather(*(stop(place) for place in places))
    return failed


def note(lab: Lab, stations: list[str], reason: str, *, clear: bool) -> None:
    """Write it into the ledger, if the keeper is there to do so."""
    from data.keeper_client import SyncKeeperClient
    from nightlab.records import Event

    try:
        with SyncKeeperClient(lab.keeper_socket, retry_s=1.0) as keeper:
            for station in stations:
                event_id = f"estop:{station}:{time.time_ns()}"
                keeper.append(
                    Event(
                        event_id=event_id, kind="note" if clear else "estop", station=station, wall_s=time.time(),
                        data={"reason": f"e-stop cleared: {reason}" if clear else reason},
                    )
                )  # fmt: skip
    except (NightlabError, OSError):
        typer.echo("the keeper does not answer, so the ledger does not know of it", err=True)
