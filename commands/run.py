"""`nightlab run`: start the lab, run a campaign to its end, write the report, and stop every process again."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nightlab.errors import LabError, ServiceError, UsageError
from nightlab.records import CampaignSpec, LabConfig, StationConfig

if TYPE_CHECKING:
    from rich.console import Console

    from data.lab import Lab

CAMPAIGN_STARTS = 20
"""How often in a row `nightlab run` starts its campaign's flow when that dies; each time it goes on from the ledger."""
STALL_S = 180.0
"""Without any event for so long (and no flow run alive) the campaign is given up."""


def run(
    environment: Annotated[str, typer.Argument(help="Environment to solve, e.g. push_t")],
    stations: Annotated[int | None, typer.Option(help="Simulated stations; default 2, or none with --station")] = None,
    station: Annotated[
        list[str] | None, typer.Option("--station", help="HOST:PORT of a station server elsewhere; once for each")
    ] = None,
    keys: Annotated[str, typer.Option(help="Folder with this lab's certificate and token for those stations")] = "",
    researcher: Annotated[str, typer.Option(help="offline, scripted, scripted:FILE or command:PROGRAM")] = "offline",
    profile: Annotated[str, typer.Option(help="nominal, real, hard, or a YAML file")] = "nominal",
    speed: Annotated[
        str, typer.Option(help="Times real time, or max; default by environment, or what served stations say")
    ] = "",
    budget: Annotated[str, typer.Option(help="Wall time, e.g. 10m")] = "10m",
    robot_budget: Annotated[str, typer.Option(help="Station time over all stations, e.g. 2h")] = "",
    target: Annotated[float, typer.Option(help="Held-out Wilson lower bound that counts as solved")] = 0.95,
    lab: Annotated[Path, typer.Option(help="Lab directory")] = Path("lab"),
    seed: Annotated[int, typer.Option(help="Campaign seed")] = 0,
    held_out: Annotated[
        int, typer.Option(help="Held-out episodes of the final measurement; 0 = by environment", min=0)
    ] = 0,
    think: Annotated[str, typer.Option(help="Station time of a proposal: seconds or lognormal:MEDIAN_S:SIGMA")] = "",
    train: Annotated[str, typer.Option(help="Station time of a training, likewise")] = "",
    window: Annotated[int, typer.Option(help="Ideas under way per station; 0 = by measured times")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON at the end")] = False,
) -> None:
    """Run a campaign; an unfinished one in the lab is continued."""
    from environments import make, world
    from nightlab.cards import card

    make(environment)
    elsewhere = [check_address(address) for address in station or ()]
    declared = () if elsewhere or stations is not None else declared_stations(lab)
    local = stations if stations is not None else 0 if elsewhere else 2
    served = {address: keys for address in elsewhere} | {one.address: one.keys for one in declared if one.remote}
    all_served = all(one.remote for one in declared) if declared else not local
    spec = CampaignSpec(
        environment=environment,
        stations=len(declared) or check_stations(local + len(elsewhere)),
        researcher=researcher,
        profile=profile,
        speed=served_speed(speed, environment, served) if all_served else read_speed(speed, environment),
        budget_s=read_duration(budget),
        robot_budget_s=read_duration(robot_budget) if robot_budget else None,
        target=check_target(target),
        seed=seed,
        held_out_n=held_out or card(environment).held_out_n,
        think=think,
        train=train,
        window=check_window(window),
    )
    from agents import make_researcher
    from agents.clock import parse_clock
    from robots.profiles import load_profile

    load_profile(profile, world(environment))
    make_researcher(researcher, seed=seed)
    for clock in (think, train):
        parse_clock(clock)
    asyncio.run(_run(lab, spec, None if declared else (elsewhere, keys), as_json=as_json))


def check_stations(stations: int) -> int:
    """1 … 64."""
    if not 1 <= stations <= 64:
        raise UsageError(f"--stations {stations}: a campaign needs 1 to 64 stations. Try: --stations 2")
    return stations


def check_address(address: str) -> str:
    """`HOST:PORT` or `unix:/path` of a station server."""
    host, _, port = address.rpartition(":")
    if not address.startswith("unix:/") and not (host and port.isdigit() and 0 < int(port) < 65536):
        raise UsageError(f"--station {address!r}: an address HOST:PORT is needed. Try: --station 10.0.0.2:50051")
    return address


def check_window(window: int) -> int:
    """0 … 32."""
    if not 0 <= window <= 32:
        raise UsageError(f"--window {window}: 0 (by measured times) to 32 ideas per station. Try: --window 0")
    return window


def check_target(target: float) -> float:
    """Strictly between 0 and 1."""
    if not 0 < target < 1:
        raise UsageError(f"--target {target}: a success rate between 0 and 1 is needed. Try: --target 0.95")
    return target


def read_speed(text: str, environment: str) -> float:
    """`max` as 0, else a positive factor; empty: what the environment's card says."""
    from nightlab.cards import card

    if not text:
        return card(environment).speed
    if text == "max":
        return 0.0
    try:
        speed = float(text)
    except ValueError:
        speed = -1.0
    if not 0 < speed <= 1000:
        raise UsageError(f"--speed {text!r}: a factor above 0 (1 = real time) or max is needed. Try: --speed 10")
    return speed


def served_speed(text: str, environment: str, served: Mapping[str, str]) -> float:
    """Speed of a campaign whose stations are all served elsewhere: that of the slowest, as it says; 1 if none answers.

    Args:
        text: what `--speed` says; it changes no such station, so it must be what they run at.
        environment: the campaign's.
        served: keys by address.

    Raises:
        UsageError: a station runs at another speed than `text`.
    """
    from commands.station_speed import own_speeds, slowest

    speeds = asyncio.run(own_speeds(served))
    if not text:
        return slowest(speeds.values())
    asked = read_speed(text, environment)
    for address, own in speeds.items():
        if own != asked:
            is_at = f"{own:g}" if own else "max"
            raise UsageError(
                f"--speed {text}: the station at {address} runs at speed {is_at}, which its own server sets. "
                "Leave --speed out: a campaign takes the speed of its stations"
            )
    return asked


def read_duration(text: str) -> float:
    """`90`, `90s`, `10m` or `2h` in seconds."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smh]?)", text.strip())
    if not match or float(match[1]) <= 0:
        raise UsageError(f"duration {text!r}: a positive number with s, m or h is needed. Try: --budget 10m")
    return float(match[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[match[2]]


def declared_stations(lab: Path) -> tuple[StationConfig, ...]:
    """The stations that `lab.yaml` declares, where it names some that are served elsewhere; else none."""
    from data.lab import Lab

    if not Lab.exists(lab):
        return ()
    stations = Lab.open(lab).config.stations
    return stations if any(station.remote for station in stations) else ()


def open_lab(path: Path, spec: CampaignSpec, elsewhere: Sequence[str] = (), keys: str = "") -> Lab:
    """Open the lab, or create it with the campaign's stations. A finished lab gets the stations the campaign asks for.

    Args:
        path: The lab's directory.
        spec: The campaign.
        elsewhere: Addresses of its last stations, which are served elsewhere already.
        keys: Folder with what this lab proves itself with there.
    """
    from commands.left_over import unfinished
    from data.lab import Lab

    config = LabConfig(environment=spec.environment, stations=station_configs(spec, elsewhere, keys))
    if not Lab.exists(path):
        return Lab.create(path, config)
    lab = Lab.open(path)
    if lab.config.stations != config.stations:
        if unfinished(lab) is not None:
            raise LabError(
                f"the lab {path} has an unfinished campaign on other stations ({_describe(lab.config)}); "
                f"asked was {_describe(config)}. Continue it with the same options, or use another --lab DIR"
            )
        lab.write_config(lab.config.model_copy(update={"stations": config.stations}))
    return lab


def station_configs(spec: CampaignSpec, elsewhere: Sequence[str] = (), keys: str = "") -> tuple[StationConfig, ...]:
    """The stations that a campaign asks for, simulated ones each with a seed of their own; the last ones `elsewhere`."""
    from environments import world

    addresses = ["127.0.0.1:0"] * (spec.stations - len(elsewhere)) + list(elsewhere)
    return tuple(
        StationConfig(
            station=f"robot-{number}", world=world(spec.environment), profile=spec.profile, speed=spec.speed,
            station_seed=1000 * spec.seed + number, address=address, remote=address in elsewhere,
            keys=keys if address in elsewhere else "",
        )
        for number, address in enumerate(addresses, 1)
    )  # fmt: skip


def _describe(config: LabConfig) -> str:
    first = config.stations[0]
    return (
        f"{len(config.stations)} × {first.world}/{first.profile} at {first.speed:g}×, seed {first.station_seed // 1000}"
    )


async def _run(
    path: Path, spec: CampaignSpec, elsewhere: tuple[Sequence[str], str] | None = ((), ""), *, as_json: bool
) -> None:
    from rich.console import Console

    from commands.down import stop_lab
    from commands.left_over import told_ignored, unfinished, why_over
    from commands.up import start_lab
    from data.lab import Lab
    from data.report import write_report
    from data.report_data import report

    console = Console(stderr=as_json)
    begin_s = time.time()
    lab = Lab.open(path) if elsewhere is None else open_lab(path, spec, *elsewhere)
    old = unfinished(lab)
    over = "" if old is None else why_over(lab, old)
    if old is not None and not over:
        console.print(f"continuing campaign {old.campaign} of {path}{told_ignored(old, spec)}")
        spec = old
    was_running = start_lab(lab.path, say=console.print)
    state = json.loads(lab.state_path.read_text())
    try:
        if old is not None and over:
            console.print(f"ending campaign {old.campaign} of {path}, which was left over: {over}")
            await _campaign(lab, old, state["ui_url"], console)
        spec = await _campaign(lab, spec, state["ui_url"], console)
        from data.keeper_client import KeeperClient

        console.print("writing down the last episodes …")
        keeper = KeeperClient(lab.keeper_socket)
        try:
            await keeper.flush(600.0)
        finally:
            await keeper.close()
        page = write_report(lab, spec.campaign)
        result = report(lab, spec.campaign)
    finally:
        if not was_running:
            stop_lab(lab.path, say=console.print)
    if as_json:
        print(json.dumps(result))
    else:
        _tell(console, lab.path, page, result, time.time() - begin_s)


async def _campaign(lab: Lab, spec: CampaignSpec, ui_url: str, console: Console) -> CampaignSpec:
    """Ask Prefect for the campaign, follow it in the ledger, return its spec with its name."""
    from commands.environment import adopt, service_environment
    from commands.live import LiveView

    adopt(service_environment(lab.path, state_api_url(lab)))
    from commands.prefect_api import live_runs, start_run
    from data.keeper_client import KeeperClient
    from tasks.integrity import pinned

    keeper = KeeperClient(lab.keeper_socket)
    spec = await keeper.start_campaign(pinned(spec))
    await keeper.close()
    running = await live_runs("campaign", spec.campaign)
    run_id = running[0] if running else await start_run("campaign/campaign", {"spec": spec.model_dump(mode="json")})
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for name in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(name, stop.set)
    restarts, started_s = CAMPAIGN_STARTS - 1, time.time()
    with LiveView(lab.ledger_path, spec.campaign, spec, ui_url, console) as view:
        checked_s = time.monotonic()
        while not stop.is_set():
            state = view.update()
            if state.ended_reason is not None:
                return spec
            if time.monotonic() - checked_s > 5.0:
                checked_s = time.monotonic()
                if await _ended(run_id, lab):
                    if state.now_s - started_s > STALL_S:  # it got on with its work since
                        restarts = CAMPAIGN_STARTS - 1
                    if not restarts:
                        raise ServiceError(
                            f"the campaign's flow run ended {CAMPAIGN_STARTS} times in a row before its end. See "
                            "run/logs/fleet.log of the lab; nothing is lost: run the same command again to continue"
                        )
                    try:
                        run_id = await start_run("campaign/campaign", {"spec": spec.model_dump(mode="json")})
                    except ServiceError as error:  # asked again in 5 s: the server may be short of disk, or away
                        console.print(
                            f"the campaign's flow run ended before its end and cannot be started yet: {error}"
                        )
                        continue
                    restarts, started_s = restarts - 1, time.time()
                    console.print("the campaign's flow run ended before its end; starting it again")
            await asyncio.sleep(0.25)
    raise LabError(
        f"stopped by a signal; nothing is lost. Continue with the same command, or see: nightlab status --lab {lab.path}"
    )


async def _ended(run_id: Any, lab: Lab) -> bool:
    """Whether the campaign's flow run died without an end in the ledger; raises if somebody ended it or the lab."""
    from commands.lab_state import read_state
    from commands.left_over import unfinished
    from commands.prefect_api import run_state

    try:
        state = await run_state(run_id)
    except ServiceError:
        lab_state = read_state(lab)
        if lab_state is None or not lab_state.running:
            raise LabError(
                f"the lab {lab.path} was shut down while its campaign ran; nothing is lost: run the same command again "
                "to continue"
            ) from None
        return False  # the supervisor restarts the server
    if not state.final or unfinished(lab) is None:
        return False
    if state.type == "CANCELLED":
        raise ServiceError(
            f"the campaign's flow run ended {state.name}: {state.message}. See run/logs/fleet.log of the lab; "
            "nothing is lost: run the same command again to continue"
        )
    return True


def state_api_url(lab: Lab) -> str:
    """Prefect's API address, as the supervisor wrote it."""
    return str(json.loads(lab.state_path.read_text())["api_url"])


def _tell(console: Console, lab: Path, page: Path, result: dict[str, Any], wall_s: float) -> None:
    """The end of a run: what came out, where the report is, how to look again."""
    held = result["held_out"]
    best = result["best"]
    stopped = f", {result['stopped']} stopped before a decision" if result["stopped"] else ""
    console.rule("solved" if result["solved"] else "not solved")
    console.print(
        f"baseline  {result['baseline']['successes']} of {result['baseline']['n']} succeed\n"
        f"best      {best['idea']}: held out {held['successes']} of {held['n']} succeed, "
        f"95 % Wilson {held['wilson_low']:.3f} – {held['wilson_high']:.3f}\n"
        f"ideas     {result['kept']} kept, {result['reverted']} reverted, {result['inconclusive']} inconclusive{stopped}\n"
        f"robots    {told_busy(result)}; {result['episodes']} episodes; all took {wall_s:.0f} s"
    )
    console.print(f"report    {page}", soft_wrap=True)
    console.print(
        f"again     nightlab report --lab {lab}   ·   nightlab tree --lab {lab}   ·   Prefect UI: nightlab up --lab {lab}",
        soft_wrap=True,
    )


def told_busy(result: dict[str, Any]) -> str:
    """How busy the robots were, or why that is not stated."""
    if result["mru"] is None:
        return f"how busy is not stated: {result['mru_reason']}"
    return f"busy {result['mru']:.0%} of the time"
