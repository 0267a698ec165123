"""`nightlab status`: the lab's processes, its stations and its latest campaign. Works when the lab is down.

With `--address` one station that no lab of this host knows.
"""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nightlab.errors import NightlabError, StationError

if TYPE_CHECKING:
    from commands.lab_state import LabState
    from data.lab import Lab
    from nightlab.records import StationPlace

ANSWER_S = 1.5
"""How long a station may take to answer, wall seconds."""


def status(
    lab: Annotated[Path, typer.Option(help="Lab directory")] = Path("lab"),
    address: Annotated[
        str, typer.Option(help="A station outside every lab, HOST:PORT; with --keys if it needs them")
    ] = "",
    keys: Annotated[str, typer.Option(help="Folder with certificate and token for the station at --address")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print it as JSON")] = False,
) -> None:
    """Show processes, stations and the latest campaign, or one station alone."""
    if address:
        show_outside(address, keys, as_json=as_json)
        return
    from commands.lab_state import read_state
    from data.lab import Lab

    opened = Lab.open(lab)
    state = read_state(opened)
    running = state is not None and state.supervisor.alive
    facts = {
        "lab": str(opened.path),
        "phase": state.phase.value if state is not None and running else "down",
        "ui_url": state.ui_url if state is not None and running else None,
        "error": state.error if state is not None else "",
        "processes": processes(state) if state is not None and running else [],
        "stations": asyncio.run(stations(state.stations)) if state is not None and running else [],
        "campaign": campaign(opened),
    }
    if as_json:
        typer.echo(json.dumps(facts))
    else:
        _print(facts, lab)


def show_outside(address: str, keys: str, *, as_json: bool) -> None:
    """Show one station that no lab of this host knows.

    Raises:
        StationError: it does not answer.
    """
    from nightlab.records import StationPlace

    (row,) = asyncio.run(stations((StationPlace(station=address, address=address, keys=keys),)))
    if not row["answers"]:
        raise StationError(row["error"])
    if as_json:
        typer.echo(json.dumps({"stations": [row]}))
    else:
        _print_stations([row])


def processes(state: LabState) -> list[dict[str, Any]]:
    """What each process of the lab does and costs."""
    import psutil

    found = []
    for name, process in [("supervisor", state.supervisor), *state.processes.items()]:
        row: dict[str, Any] = {"process": name, "pid": process.pid, "restarts": process.restarts, "state": "dead"}
        if process.alive:
            row |= {"state": "ready" if process.ready else "starting", "up_s": time.time() - process.started_s}
            try:
                running = psutil.Process(process.pid)
                times = running.cpu_times()
                row |= {"cpu_s": times.user + times.system, "memory_mib": running.memory_info().rss / 2**20}
            except psutil.Error:
                row["state"] = "dead"
        found.append(row)
    return found


async def stations(places: tuple[StationPlace, ...]) -> list[dict[str, Any]]:
    """What each station says of itself; `answers` is False for those that do not answer."""
    from robots.client import StationClient

    async def ask(place: StationPlace) -> dict[str, Any]:
        row: dict[str, Any] = {"station": place.station, "address": place.address, "answers": False}
        try:
            async with asyncio.timeout(ANSWER_S):
                client = await StationClient.connect(place.address, keys=place.keys, timeout_s=ANSWER_S)
                try:
                    spec, stats = await client.describe(), await client.stats()
                finally:
                    await client.close()
        except (NightlabError, TimeoutError, OSError) as error:
            return row | {"error": str(error) or f"the station at {place.address} did not answer within {ANSWER_S:g} s"}
        return row | {
            "answers": True,
            "kind": spec.kind,
            "profile": spec.profile,
            "speed": spec.speed,
            "lease": stats.lease_holder,
            "doing": stats.label,
            "estop": stats.estop,
            "periods": stats.periods,
            "late": stats.late,
            "faults": stats.faults,
            "protective_stops": stats.protective_stops,
        }

    return list(await asyncio.gather(*(ask(place) for place in places)))


def campaign(lab: Lab) -> dict[str, Any] | None:
    """The latest campaign, from the ledger; None if there was none."""
    from data.campaign_state import CampaignState
    from data.ledger import LedgerReader
    from nightlab.records import CampaignSpec

    if not lab.ledger_path.exists():
        return None
    reader = LedgerReader(lab.ledger_path)
    started = reader.events(kind="campaign_started")
    if not started:
        return None
    spec = CampaignSpec.model_validate(started[-1].data)
    state = CampaignState.from_events(spec, reader.events(campaign=spec.campaign))
    rate = state.rate(state.incumbent)
    held = state.held_out
    return {
        "campaign": spec.campaign,
        "environment": spec.environment,
        "profile": spec.profile,
        "researcher": spec.researcher,
        "ended": state.ended_reason,
        "solved": state.solved,
        "episodes": state.episodes,
        "incumbent": state.incumbent,
        "success": {
            "n": rate.n,
            "successes": rate.successes,
            "wilson_low": rate.wilson_low,
            "wilson_high": rate.wilson_high,
        },
        "held_out": {"n": held.rate.n, "successes": held.rate.successes} if held is not None else None,
        "budget_left_s": max(0.0, state.deadline_wall_s - time.time()),
        "running": [
            {
                "station": work.work.station,
                "iteration": work.work.iteration,
                "kind": work.work.kind.value,
                "stage": work.stage,
            }
            for work in state.running
        ],
    }


def _print_stations(rows: list[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console()
    named = any(row["station"] != row["address"] for row in rows)
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for column in (*(("station",) if named else ()), "address", "what"):
        table.add_column(column, no_wrap=True)
    table.add_column("lease")
    table.add_column("doing")
    table.add_column("periods", justify="right", no_wrap=True)
    for row in rows:
        what = "does not answer"
        if row["answers"]:
            what = f"{row['kind']}{'/' if row['profile'] else ''}{row['profile'] or ''} at {row['speed']:g}×"
        doing = "E-STOP" if row.get("estop") else row.get("doing", "")
        name = (row["station"],) if named else ()
        periods = str(row.get("periods", ""))
        table.add_row(*name, row["address"], what, row.get("lease", ""), doing, periods)
    console.print(table)
    for row in (row for row in rows if row["answers"]):
        console.print(
            f"{row['station']}: late {row['late']}, faults {row['faults']}, protective stops {row['protective_stops']}",
            soft_wrap=True, highlight=False,
        )  # fmt: skip
    for row in rows:
        if row.get("estop"):
            console.print(f"E-STOP at {row['station']}: {row['estop']}", style="bold red", soft_wrap=True)


def _print(facts: dict[str, Any], lab: Path) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console()
    console.print(
        f"lab {facts['lab']} is [bold]{facts['phase']}[/]" + (f"; {facts['error']}" if facts["error"] else "")
    )
    if facts["ui_url"]:
        console.print(f"Prefect UI {facts['ui_url']}")
    else:
        console.print(f"start it with: nightlab up --lab {lab}")
    if facts["processes"]:
        table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
        for column in ("process", "state", "pid", "up", "restarts", "CPU s", "MiB"):
            table.add_column(column, justify="left" if column in ("process", "state") else "right")
        for row in facts["processes"]:
            table.add_row(
                row["process"], row["state"], str(row["pid"]), f"{row.get('up_s', 0):.0f} s", str(row["restarts"]),
                f"{row.get('cpu_s', 0):.1f}", f"{row.get('memory_mib', 0):.0f}",
            )  # fmt: skip
        console.print(table)
    if facts["stations"]:
        _print_stations(facts["stations"])
    found = facts["campaign"]
    if found is None:
        console.print(f"no campaign yet; start one with: nightlab run push_t --lab {lab}")
        return
    rate, held = found["success"], found["held_out"]
    console.print(
        f"campaign [bold]{found['campaign']}[/] {found['environment']}/{found['profile']}: "
        + (found["ended"] or f"{found['budget_left_s']:.0f} s of its budget left")
    )
    console.print(
        f"  {found['episodes']} episodes; incumbent {found['incumbent']}: {rate['successes']} of {rate['n']} succeed "
        f"({rate['wilson_low']:.0%} – {rate['wilson_high']:.0%})"
        + (f"; held out {held['successes']} of {held['n']}" if held else "")
    )
    for work in found["running"]:
        console.print(f"  {work['station']}: {work['iteration']} {work['kind']} {work['stage']}")
