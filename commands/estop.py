"""`nightlab estop`: stop motion now. To stop, it needs nothing of a lab but `run/state.json`, and none of its processes."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nightlab.errors import NightlabError, StationError, UsageError

if TYPE_CHECKING:
    from nightlab.records import StationPlace

CALL_S = 5.0
"""How long a station may take to confirm that it stopped, wall seconds; all are called at the same time."""
CLEAR_S = 20.0
"""The same for clearing, which nobody has to hurry."""


def estop(
    station: Annotated[str, typer.Argument(help="Station to stop, e.g. robot-1; default: all")] = "",
    lab: Annotated[Path, typer.Option(help="Lab directory")] = Path("lab"),
    reason: Annotated[str, typer.Option(help="Stands in the ledger and in the station's errors")] = "nightlab estop",
    clear: Annotated[bool, typer.Option("--clear", help="Allow motion again")] = False,
    keys: Annotated[str, typer.Option(help="Operator's keys, to clear a station on another host")] = "",
    address: Annotated[
        str, typer.Option(help="A station outside every lab, HOST:PORT; with --keys if it needs them")
    ] = "",
) -> None:
    """Stop every robot of the lab, or one, at once. Robots hold until `nightlab estop --clear`."""
    if address:
        stop_outside(address, keys, reason, clear=clear)
        return
    from commands.lab_state import read_state
    from data.lab import Lab

    opened = Lab.open(lab) if clear else Lab(lab.resolve())
    state = read_state(opened)
    if state is None or not state.stations:
        raise StationError(
            f"no station of {lab} is known: {opened.state_path} names none, is missing or cannot be read. "
            "Stop each station at its address: nightlab estop --address HOST:PORT"
        )
    places = state.stations
    if station:
        known = [place.station for place in places]
        places = tuple(place for place in places if place.station == station)
        if not places:
            raise UsageError.unknown("station", station, known, f"nightlab status --lab {lab}")
    token = opened.operator_token().read_text().strip() if clear else ""
    failed = asyncio.run(stop_stations(places, reason, clear=clear, token=token, keys=keys, say=typer.echo))
    own = all(place.admin_socket for place in places)
    if len(failed) == len(places) and own and not state.supervisor.alive:
        raise StationError(f"the lab {lab} is down: none of its station servers runs. See: nightlab status --lab {lab}")
    if failed:
        what = "did not clear" if clear else "did not answer"
        typer.echo(
            f"nightlab: {', '.join(sorted(failed))} {what}: {'; '.join(failed.values())}. "
            f"{'' if clear else 'If it moves, cut its power; '}see: nightlab status --lab {lab}",
            err=True,
        )
    done = [place for place in places if place.station not in failed]
    if done:
        note(lab, done, reason, clear=clear)
    if failed:
        raise typer.Exit(2)


def stop_outside(address: str, keys: str, reason: str, *, clear: bool) -> None:
    """Stop, or clear, one station that no lab of this host knows."""
    from nightlab.records import StationPlace

    place = StationPlace(station=address, address=address, keys=keys)
    failed = asyncio.run(stop_stations((place,), reason, clear=clear, keys=keys, say=typer.echo))
    if failed:
        raise StationError(f"{failed[address]}{'' if clear else '. If it moves, cut its power'}")


async def stop_stations(
    places: tuple[StationPlace, ...],
    reason: str,
    *,
    clear: bool = False,
    token: str = "",
    keys: str = "",
    say: typer.Typer | object = print,
) -> dict[str, str]:
    """Stop all stations at the same time.

    Args:
        places: the stations.
        reason: stands in their errors.
        clear: allow motion again, rather than stop.
        say: told of each station that confirmed.
        token: clears the e-stop of stations on this host.
        keys: the operator's folder, for stations that need keys.

    Returns:
        Why, by station, for those that did not confirm in time.
    """
    from robots.client import StationClient, estop_now

    failed: dict[str, str] = {}

    async def stop(place: StationPlace) -> None:
        begin_s = time.monotonic()
        try:
            async with asyncio.timeout(CLEAR_S if clear else CALL_S):
                if not clear:
                    await estop_now(place.address, reason, keys=place.keys, timeout_s=CALL_S)
                else:
                    client = await StationClient.connect(place.address, keys=keys or place.keys, timeout_s=CLEAR_S)
                    try:
                        await client.clear_estop("" if place.keys else token)
                    finally:
                        await client.close()
        except (NightlabError, TimeoutError, OSError) as error:
            failed[place.station] = str(error) or f"no answer within {CLEAR_S if clear else CALL_S:g} s"
            return
        if callable(say):
            done = "may move again" if clear else "stopped"
            say(f"{place.station} {done} ({1000 * (time.monotonic() - begin_s):.0f} ms)")

    await asyncio.gather(*(stop(place) for place in places))
    return failed


def note(path: Path, places: list[StationPlace], reason: str, *, clear: bool) -> None:
    """Write it into the ledger of the lab at `path`, if lab and keeper allow. The fleet's watch writes the same, once."""
    from commands.unpark import parked_stations
    from data.estops import REASON, cleared_event, estop_events, running_campaign
    from data.keeper_client import SyncKeeperClient
    from data.lab import Lab
    from data.ledger import LedgerReader

    try:
        lab = Lab.open(path)
        parked = parked_stations(lab)
        campaign = running_campaign(LedgerReader(lab.ledger_path).events()) if lab.ledger_path.exists() else ""
        with SyncKeeperClient(lab.keeper_socket, retry_s=5.0) as keeper:
            for place in places:
                was = parked.get(place.station, ("", ""))[1]
                if clear and REASON.strip() in was:
                    keeper.append(cleared_event(place.station, campaign, was, time.time()))
                elif not clear:
                    for event in estop_events(place.station, campaign, reason, asyncio.run(latched_s(place))):
                        keeper.append(event)
    except (NightlabError, OSError, ValueError, sqlite3.Error) as error:
        why = " ".join(str(error).split())
        typer.echo(f"{'cleared' if clear else 'stopped'}, but the ledger does not know of it: {why}", err=True)


async def latched_s(place: StationPlace) -> float:
    """Wall clock at which the station latched its e-stop; it names the events."""
    from robots.client import StationClient

    client = await StationClient.connect(place.address, keys=place.keys, timeout_s=CLEAR_S)
    try:
        return (await client.stats()).estop_s or time.time()
    finally:
        await client.close()
