"""`nightlab benchmark mru`: how busy the robots of a real lab are when its researcher thinks as long as a language model.

Real: flows, Prefect, keeper, paced station servers, sandboxes, verifier, recorder. The researcher is `scripted` by a clock:
thinking is lognormal with a median of four trials and sigma 0.5, training takes one trial. Beside it the published way:
one researcher per robot that thinks, trains and tries one idea after the other, without filler work.
"""

from __future__ import annotations

import asyncio
import json
import math
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from commands.benchmark_pace import TooFast, check_speed, first_speed
from nightlab.errors import ServiceError, UsageError
from nightlab.records import CampaignSpec, EpisodeRecord, Event, WorkKind

if TYPE_CHECKING:
    from data.campaign_state import CampaignState
    from data.lab import Lab

TRIAL_S = 230.0
"""Robot time of a trial of the starting policy, station seconds (n = 60); what it came to is in the result as `trial_s`."""
THINK_TRIALS, THINK_SIGMA, TRAIN_TRIALS = 4.0, 0.5, 1.0
EPISODE_MOST_S = 40.0
"""No episode takes longer, station seconds."""
START = {"push_t": {"choose": "choose_twist", "drive": "drive_stop", "endgame": "endgame_fine", "pause": "pause_none"}}
"""Modules that a benchmark's template starts with, so that an episode takes about 10 s and not the whole time limit."""
STUCK_S = 240.0
"""Without any event for so long, and as long as an idea takes beside it, the campaign is given up, wall s."""
MODEL_RUNS = 50
"""Simulated fleets per prediction."""
LATEST_TRIALS = 4.0
"""Trials under way at the end of the measured time are waited for, so many of the trial's time at most."""
START_S = 300.0
"""Longest wait for the processes of many stations, wall s."""


@dataclass(frozen=True, slots=True)
class Order:
    """One benchmark."""

    stations: int
    speed: float
    minutes: float
    environment: str
    trial_s: float
    seed: int
    home: Path | None
    fixed: bool = True
    """The speed was asked for; else it is lowered to what this host carries."""


def mru(
    stations: Annotated[int, typer.Option(help="Simulated stations, 1 to 64")] = 1,
    minutes: Annotated[float, typer.Option(help="Measured station time per station, after the warm-up")] = 30.0,
    speed: Annotated[float, typer.Option(help="Times real time; 0 = what this host is seen to carry")] = 0.0,
    environment: Annotated[str, typer.Option(help="Environment with a starting policy")] = "push_t",
    trial_s: Annotated[float, typer.Option(help="Trial that think and train are multiples of, station s")] = TRIAL_S,
    seed: Annotated[int, typer.Option(help="Campaign seed")] = 0,
    published: Annotated[bool, typer.Option(help="Also measure the published way")] = True,
    lab: Annotated[Path | None, typer.Option(help="Keep the two labs in this folder")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON")] = False,
) -> None:
    """Measure robot utilisation with real flows and stations, and the published way beside it."""
    from commands.run import check_stations

    if environment not in START:
        raise UsageError.unknown("environment", environment, START, "nightlab benchmark mru")
    if minutes <= 0 or speed < 0 or trial_s <= 0:
        raise UsageError(f"--minutes {minutes:g} --speed {speed:g}: positive numbers are needed. Try: --minutes 30")
    check_stations(stations)
    order = Order(stations, speed or first_speed(stations), minutes, environment, trial_s, seed, lab, fixed=speed > 0)
    result = asyncio.run(_both(order, published=published))
    if as_json:
        print(json.dumps(result))
    else:
        _tell(result)


async def _both(order: Order, *, published: bool) -> dict[str, Any]:
    ours = None
    while ours is None:
        try:
            ours = await _run(order, "window", {})
        except TooFast as error:
            print(f"nightlab: {error}", file=sys.stderr, flush=True)
            order = replace(order, speed=error.slower)
    ways, beside = {"window": ours}, {"mru": None, "mru_reason": "not measured"}
    if published:
        try:
            beside = await _run(order, "published", {"window": 1, "filler": False, "share": False})
            ways["published"] = beside
        except ServiceError as error:  # what was measured already is not lost
            beside["mru_reason"] = str(error)
    for name, found in ways.items():
        found["predicted"] = predictions(found, order, alone=name == "published")
    return {**ours, "published_way": beside}


def predictions(found: dict[str, Any], order: Order, *, alone: bool) -> dict[str, Any]:
    """What the model says of one measured run: of many like it by its mean times, and of itself by each idea's own.

    Args:
        found: `figures`.
        order: What was asked for.
        alone: The published way.
    """
    from data.fleet_model import FleetTimes, forecast

    times = FleetTimes(
        think_s=found["think_s"], think_sigma=THINK_SIGMA, train_s=found["train_s"], trial_s=found["trial_s"],
        trial_sigma=found["trial_sigma"], gap_s=found["gap_s"], episode_s=0.0 if alone else found["episode_s"],
        filler_useful=found["filler_useful"], window=-1 if alone else 0,
    )  # fmt: skip
    replayed = replace(times, prepared_s=tuple(found["prepared_s"]), tried_s=tuple(found["tried_s"]))
    horizon_s = order.minutes * 60
    many, same = (
        forecast(each, [order.stations], runs=MODEL_RUNS, horizon_s=horizon_s, warm_up_s=-1)[0]
        for each in (times, replayed)
    )
    command = (
        f"nightlab simulate-fleet --sizes {order.stations} --think lognormal:{times.think_s:g}:{THINK_SIGMA} "
        f"--train-s {times.train_s:g} --trial-s {times.trial_s:g} --trial-sigma {times.trial_sigma:.3g} "
        f"--gap-s {times.gap_s:.3g} --episode-s {times.episode_s:.3g} --filler-useful {times.filler_useful:.3g} "
        f"--window {times.window} --horizon-s {horizon_s:g} --warm-up-s -1 --runs {MODEL_RUNS}"
    )
    listed = (",".join(f"{value:g}" for value in found[name]) for name in ("prepared_s", "tried_s"))
    return {
        "mru": many.mru,
        "mru_range": many.mru_range,
        "useful_share": many.useful_share,
        "useful_share_range": many.useful_share_range,
        "ranges": "nine of ten runs of this length",
        "command": command,
        "replayed": {
            "mru": same.mru,
            "useful_share": same.useful_share,
            "command": "{} --prepared-s {} --tried-s {}".format(command, *listed),
        },
    }


async def _run(order: Order, name: str, way: dict[str, Any]) -> dict[str, Any]:
    """One campaign in a lab of its own, from its start to the end of the measured time."""
    from rich.console import Console

    from commands.down import stop_lab
    from commands.up import start_lab

    console = Console(stderr=True)
    home = (
        order.home / f"{name}-{order.stations}-at-{order.speed:g}"
        if order.home
        else Path(tempfile.mkdtemp(prefix="nightlab-mru-"))
    )
    spec = CampaignSpec(
        environment=order.environment, stations=order.stations, researcher="scripted", speed=order.speed,
        seed=order.seed, target=0.999, held_out_n=20, think=f"lognormal:{THINK_TRIALS * order.trial_s:g}:{THINK_SIGMA:g}",
        train=f"{TRAIN_TRIALS * order.trial_s:g}", budget_s=20 * 60 * order.minutes / order.speed + 3600, **way,
    )  # fmt: skip
    made = make_lab(home / "lab", spec)
    console.print(f"{name}: {order.stations} stations at {order.speed:g}× in {made.path}")
    start_lab(made.path, say=console.print, timeout_s=START_S)
    try:
        spec, events, window = await _measure(made, spec, order, console.print)
    finally:
        stop_lab(made.path, say=console.print)
        if order.home is None:
            shutil.rmtree(home, ignore_errors=True)
    return figures(spec, events, window, order.trial_s)


def make_lab(path: Path, spec: CampaignSpec) -> Lab:
    """A lab whose workspace template starts with the modules of START."""
    from agents.recipe import Recipe, read_recipe, write_recipe
    from commands.run import station_configs
    from data.lab import Lab
    from nightlab import cards
    from nightlab.records import LabConfig

    config = LabConfig(environment=spec.environment, stations=station_configs(spec))
    with tempfile.TemporaryDirectory() as folder:
        template = Path(shutil.copytree(cards.template(spec.environment), Path(folder) / "template"))
        recipe = read_recipe(template)
        write_recipe(template, Recipe({**recipe.modules, **START[spec.environment]}, recipe.params))
        return Lab.create(path, config, template=template)


async def _measure(
    lab: Lab, spec: CampaignSpec, order: Order, say: Callable[[str], object]
) -> tuple[CampaignSpec, list[Event], tuple[float, float]]:
    """Start the campaign, wait for the warm-up and the measured time; its events, and from when to when (wall, s)."""
    from commands.environment import adopt, service_environment
    from commands.run import state_api_url

    adopt(service_environment(lab.path, state_api_url(lab)))
    from commands.prefect_api import start_run
    from data.campaign_state import CampaignState
    from data.keeper_client import KeeperClient
    from data.ledger import LedgerReader
    from tasks.integrity import pinned

    async with KeeperClient(lab.keeper_socket) as keeper:
        spec = await keeper.start_campaign(pinned(spec))
    await start_run("campaign/campaign", {"spec": spec.model_dump(mode="json")})
    state, seq, begin_s, told_s = CampaignState(spec=spec), 0, 0.0, 0.0
    takes_s, latest_s = (each / order.speed for each in (order.minutes * 60, LATEST_TRIALS * order.trial_s))
    undecided: set[str] | None = None
    stuck_s = STUCK_S + whole_s(order.trial_s) / order.speed
    with LedgerReader(lab.ledger_path) as ledger:
        while not begin_s or undecided is None or undecided:
            await asyncio.sleep(1.0)
            for event in ledger.events(campaign=spec.campaign, since=seq):
                seq = event.seq
                state.apply(event)
            if state.ended_reason is not None or time.time() - state.now_s > stuck_s:
                reason = state.ended_reason or f"nothing happened for {stuck_s:.0f} s; see run/logs/fleet.log"
                raise ServiceError(f"the campaign of {lab.path} ended before it was measured: {reason}")
            beyond_s = time.time() - begin_s - takes_s if begin_s else -1.0
            if undecided is None and beyond_s > EPISODE_MOST_S / spec.speed + 3.0:
                undecided = at_robots(state)
            elif undecided:
                undecided = undecided & at_robots(state) if beyond_s < latest_s else set()
            done = not begin_s and warm(state, time.time(), order.trial_s)
            tell = time.time() - told_s > 30
            if not (begin_s or order.fixed) and (done or tell):
                check_speed(spec, ledger.events(campaign=spec.campaign), time.time(), warm=done)
            if done:
                begin_s = time.time()
            if tell:
                told_s = time.time()
                say(_line(state, begin_s, takes_s))
        return spec, ledger.events(campaign=spec.campaign), (begin_s, begin_s + takes_s)


def at_robots(state: CampaignState) -> set[str]:
    """Iterations of the ideas that have been given a robot and are not decided."""
    searches = (work for work in state.running if work.work.kind is WorkKind.SEARCH)
    return {work.work.iteration for work in searches if work.place}


def warm(state: CampaignState, now_s: float, trial_s: float) -> bool:
    """The warm-up is over once every robot has begun the trial of an idea, or twice an idea's whole time has passed."""
    placed = {work.place for work in state.works.values() if work.work.kind is WorkKind.SEARCH and work.busy_s > 0}
    first = min((work.claimed_s for work in state.works.values() if work.work.kind is WorkKind.SEARCH), default=now_s)
    return len(placed) >= state.spec.stations or now_s - first > 2 * whole_s(trial_s) / state.spec.speed


def whole_s(trial_s: float) -> float:
    """What an idea takes from its first thought to the end of its trial, station s."""
    return (THINK_TRIALS + TRAIN_TRIALS + 1) * trial_s


def figures(spec: CampaignSpec, events: list[Event], window: tuple[float, float], asked_s: float) -> dict[str, Any]:
    """What one run came to. Times in station seconds."""
    from data.campaign_state import CampaignState
    from data.fleet_times import prepared_s, tried_s
    from data.metrics import measure, useful_share

    state = CampaignState.from_events(spec, events)
    episodes = [EpisodeRecord.model_validate(event.data) for event in events if event.kind == "episode"]
    measured = [e for e in episodes if e.rollout_end.wall_s > window[0] and e.reset_begin.wall_s < window[1]]
    found = measure(spec, events, window=window)
    trials = [
        work.busy_s * spec.speed
        for work in state.works.values()
        if work.work.kind is WorkKind.SEARCH and work.ended and work.busy_s > 0
    ]
    thoughts = [
        float(event.data["wall_s"]) * spec.speed
        for event in events
        if event.kind == "stage_finished" and event.data.get("stage") == "propose"
    ]
    trained = [
        (work.ready_s - work.claimed_s) * spec.speed
        for work in state.works.values()
        if work.work.kind is WorkKind.SEARCH and work.ready_s
    ]
    think_s, trial_s = _geometric(thoughts), _mean(trials)
    return {
        "stations": spec.stations,
        "speed": spec.speed,
        "minutes": (window[1] - window[0]) * spec.speed / 60,
        "achieved_speed": found.achieved_speed,
        "late_share": found.late_share,
        "mru": found.mru,
        "mru_rollout": found.mru_rollout,
        "mru_reason": found.mru_reason,
        "useful_share": found.useful_share,
        "split": found.split,
        "station_split": found.stations,
        "warm_up_station_s": (window[0] - state.started_s) * spec.speed,
        "warm_up": "left out: until every robot had begun the trial of an idea, at most twice an idea's whole time",
        "trials": len(trials),
        "trial_s": trial_s or asked_s,
        "trial_sigma": _spread(trials),
        "think_s": think_s or THINK_TRIALS * asked_s,
        "think_over_trial": think_s / trial_s if trial_s else None,
        "train_s": max(TRAIN_TRIALS * asked_s, _mean(trained) - _mean(thoughts)),
        "episode_s": state.episode_wall_s() * spec.speed,
        "filler_useful": useful_share(state, measured, filler_alone=True) or 0.0,
        "gap_s": found.split["lease"] * spec.stations * spec.speed * found.wall_s / max(1, hand_overs(events, window)),
        "episodes": state.episodes,
        "ideas": sum(work.work.kind is WorkKind.SEARCH for work in state.works.values()),
        "kept": len(state.kept) - 1,
        "prepared_s": [round(takes_s, 1) for takes_s in prepared_s(state)],
        "tried_s": [round(takes_s, 1) for takes_s in tried_s(state, episodes)],
        "cores": os.cpu_count(),
        "seed": spec.seed,
    }


def hand_overs(events: list[Event], window: tuple[float, float]) -> int:
    """How often a robot went on with another trial within the window (wall s)."""
    last: dict[str, str] = {}
    found = 0
    for event in sorted((e for e in events if e.kind == "episode"), key=lambda e: e.data["reset_begin"]["wall_s"]):
        begun_s = event.data["reset_begin"]["wall_s"]
        found += last.get(event.station, event.iteration) != event.iteration and window[0] <= begun_s <= window[1]
        last[event.station] = event.iteration
    return found


def _geometric(values: list[float]) -> float:
    """Geometric mean: what a few values say best about the median of a lognormal."""
    return math.exp(_mean([math.log(value) for value in values])) if values else 0.0


def _mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else 0.0


def _spread(values: list[float]) -> float:
    """Standard deviation of the logarithm that has the values' relative spread."""
    if len(values) < 2:
        return 0.0
    mean = _mean(values)
    variance = sum((value - mean) ** 2 for value in values) / (len(values) - 1)
    return math.sqrt(math.log(1 + variance / mean**2))


def _line(state: CampaignState, begin_s: float, takes_s: float) -> str:
    left_s = begin_s + takes_s - time.time()
    trials = sum(w.work.kind is WorkKind.SEARCH and w.ended for w in state.works.values())
    ended = "last trials"
    when = (f"{left_s:.0f} s left" if left_s > 0 else ended) if begin_s else "warming up"
    return f"{when}; {state.episodes} episodes, {trials} trials done, {len(state.running)} works under way"


def _tell(result: dict[str, Any]) -> None:
    def share(value: float | None) -> str:
        return "unknown" if value is None else f"{value:.1%}"

    def model(found: dict[str, Any], name: str = "mru") -> str:
        said = found["predicted"]
        low, high = said[f"{name}_range"]
        return f"{share(said['replayed'][name])} replayed; {share(said[name])} on average ({low:.1%} to {high:.1%})"

    way = result["published_way"]
    lines = [
        f"{result['stations']} stations, {result['minutes']:.0f} min each at {result['speed']:g}×",
        f"utilisation    {share(result['mru'])} (rollout only {share(result['mru_rollout'])}) {result['mru_reason']}",
        f"   by model    {model(result)}: nine of ten runs of this length",
        f"useful         {share(result['useful_share'])}",
        f"   by model    {model(result, 'useful_share')}",
        f"speed, late    {result['achieved_speed']:.2f} of {result['speed']:g}, {result['late_share']:.2%}",
        f"published way  {share(way['mru'])} {way['mru_reason']}",
        *([f"   by model    {model(way)}"] if "predicted" in way else []),
    ]
    sys.stdout.write("\n".join(lines) + "\n")
