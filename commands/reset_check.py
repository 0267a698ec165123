"""`nightlab reset-check`: how well an environment resets itself: success, attempts, duration, and where the starts lie.

Runs on stations of its own, outside any lab. Between two resets each station is left as an episode leaves it, by the
environment's own `rehearse` where it has one. A station that gives up is laid anew, as a person would do it.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import math
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import typer

from nightlab.errors import NightlabError, StationError, UsageError
from nightlab.records import ResetReport, StationPlace

ASKED_N = 20_000
"""Starts sampled from other seeds, whose distribution the achieved ones are compared with."""
FAULTS = 3
"""Station faults in a row after which the check gives up."""


@dataclass(frozen=True, slots=True)
class Check:
    """One reset that was checked."""

    seed: int
    report: ResetReport
    truth: Mapping[str, float]
    left: str
    """What the rehearsal before it did; empty: a fresh scene."""


@dataclass(slots=True)
class Tally:
    """All resets, and what went wrong besides."""

    checks: list[Check] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)


def reset_check(
    environment: Annotated[str, typer.Argument(help="Environment, e.g. pin_insertion")],
    n: Annotated[int, typer.Option(help="Resets")] = 200,
    profile: Annotated[str, typer.Option(help="nominal, real, hard, or a YAML file")] = "nominal",
    seed: Annotated[int, typer.Option(help="First start seed, and seed of the stations")] = 0,
    stations: Annotated[int, typer.Option(help="Simulated stations side by side")] = 2,
    speed: Annotated[str, typer.Option(help="Times real time, or max")] = "max",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object")] = False,
) -> None:
    """Measure an environment's reset."""
    from commands.run import check_stations, read_speed
    from environments import make, world
    from robots.profiles import load_profile

    make(environment)
    load_profile(profile, world(environment))
    if n < 1:
        raise UsageError(f"--n {n}: at least one reset is needed. Try: --n 200")
    begin_s = time.monotonic()
    say = (lambda _: None) if as_json else typer.echo
    tally = asyncio.run(
        check(environment, profile, n, seed=seed, stations=check_stations(stations), speed=read_speed(speed), say=say)
    )
    facts = {"environment": environment, "profile": profile, "seed": seed, "stations": stations}
    result = {**facts, **figures(environment, tally), "wall_s": round(time.monotonic() - begin_s, 1)}
    typer.echo(json.dumps(result) if as_json else sentence(result))


async def check(
    environment: str,
    profile: str,
    n: int,
    *,
    seed: int = 0,
    stations: int = 2,
    speed: float = 0.0,
    say: Callable[[str], object] = print,
) -> Tally:
    """Reset `n` times on fresh stations; every station does its share of the seeds."""
    from commands.evaluate import spawn_stations, wait_ready
    from environments import world

    room = Path(tempfile.mkdtemp(prefix="nightlab-reset-"))
    room.chmod(0o700)
    tally = Tally()
    processes: list[asyncio.subprocess.Process] = []
    try:
        names = [f"robot-{number}" for number in range(1, stations + 1)]
        waiting = await spawn_stations(room, names, world(environment), profile, speed, seed, processes)
        await wait_ready(waiting, processes, room)
        shares = [range(seed + number, seed + n, stations) for number in range(stations)]
        places = [StationPlace.model_validate_json((room / f"{name}.json").read_text()) for name in names]
        await asyncio.gather(
            *(
                _one_station(environment, profile, place, share, tally, say)
                for place, share in zip(places, shares, strict=True)
            )
        )
        return tally
    finally:
        for process in processes:
            if process.returncode is None:
                process.terminate()
        await asyncio.gather(*(process.wait() for process in processes))
        shutil.rmtree(room, ignore_errors=True)


async def _one_station(
    name: str, profile: str, place: StationPlace, seeds: Sequence[int], tally: Tally, say: Callable[[str], object]
) -> None:
    from environments import make
    from robots.admin import AdminClient
    from robots.client import StationClient

    environment, rehearse = make(name), rehearsal(name)
    station = await StationClient.connect(place.address)
    assert place.admin_socket is not None
    admin = await AdminClient.connect(Path(place.admin_socket))
    left, in_a_row = "", 0
    try:
        lease = await station.lease("reset-check", environment.limits)
        for seed in seeds:
            try:
                report = await environment.reset(station, lease, seed, admin=admin)
                tally.checks.append(Check(seed, report, await admin.truth(), left))
                say(_line(place.station, seed, report, left))
                if report.success:
                    left = await rehearse(environment, station, lease, admin, seed) if rehearse else ""
                else:
                    left = "laid anew"
                    await admin.configure(profile, place.station_seed)
                in_a_row = 0
            except StationError as error:
                tally.faults.append(f"{place.station}, seed {seed}: {error}")
                in_a_row += 1
                if in_a_row >= FAULTS:
                    raise
                await admin.configure(profile, place.station_seed)
                left = "laid anew"
    finally:
        for part in (admin, station):
            try:
                await part.close()
            except NightlabError:
                continue


def rehearsal(environment: str) -> Callable[..., Awaitable[str]] | None:
    """The environment's `rehearse.rehearse(environment, station, lease, admin, seed)`, or None if it has none."""
    from environments import package_name

    dotted = f"{package_name(environment)}.rehearse"
    try:
        found: Callable[..., Awaitable[str]] = importlib.import_module(dotted).rehearse
    except ModuleNotFoundError as error:
        if error.name != dotted:
            raise
        return None
    return found


def asked_starts(environment: str, n: int = ASKED_N) -> dict[str, list[float]]:
    """Starts by dimension that seeds far from the checked ones sample: the asked distribution."""
    from environments import package_name

    sample = importlib.import_module(f"{package_name(environment)}.start").sample_start
    columns: dict[str, list[float]] = {}
    for seed in range(2**30, 2**30 + n):
        drawn = sample(seed)
        start = drawn[0] if isinstance(drawn, tuple) else drawn
        for key, value in start.items():
            columns.setdefault(key, []).append(float(value))
    return columns


def figures(environment: str, tally: Tally) -> dict[str, Any]:
    """What `--json` prints. Distances in the environment's own unit; durations in station seconds."""
    from scipy.stats import ks_2samp

    from data.statistics import wilson

    checks = tally.checks
    done = [one for one in checks if one.report.success]
    n = len(checks) + len(tally.faults)
    low, high = wilson(len(done), n)
    asked = asked_starts(environment)
    by_sensors = {key: [one.report.achieved[key] for one in done] for key in asked}
    by_truth = {key: [one.truth[key] for one in done if key in one.truth] for key in asked}
    durations = sorted(one.report.duration_s for one in done)
    distances = [one.report.distance for one in done]
    return {
        "n": n,
        "successes": len(done),
        "success": round(len(done) / n, 4) if n else None,
        "wilson_low": round(low, 4),
        "wilson_high": round(high, 4),
        "attempts": {str(key): count for key, count in sorted(Counter(one.report.attempts for one in done).items())},
        "ks_D": {key: _rounded(ks_2samp(values, asked[key]).statistic) for key, values in by_sensors.items() if values},
        "ks_D_true": {
            key: _rounded(ks_2samp(values, asked[key]).statistic) for key, values in by_truth.items() if values
        },
        "duration_mean_s": _rounded(sum(durations) / len(durations)) if durations else None,
        "duration_p95_s": _rounded(durations[math.ceil(0.95 * len(durations)) - 1]) if durations else None,
        "distance_mean": _rounded(sum(distances) / len(distances), 5) if distances else None,
        "distance_max": _rounded(max(distances), 5) if distances else None,
        "simulator_shortcut": any(one.report.simulator_shortcut for one in checks),
        "done": dict(sum((Counter(one.report.counts) for one in checks), Counter())),
        "found_after": dict(Counter(one.left or "fresh scene" for one in checks)),
        "gave_up": [
            f"seed {one.seed} after {one.left}: {one.report.reason}" for one in checks if not one.report.success
        ],
        "faults": tally.faults,
    }


def _rounded(value: float, digits: int = 4) -> float:
    return round(float(value), digits)


def _line(station: str, seed: int, report: ResetReport, left: str) -> str:
    state = "ok  " if report.success else "FAIL"
    why = f"  {report.reason}" if report.reason else ""
    return f"{station} {state} seed {seed}: {report.attempts} attempts, {report.duration_s:.1f} s, after {left or '-'}{why}"


def sentence(result: Mapping[str, Any]) -> str:
    """The figures for people."""
    ks = ", ".join(f"{key} {value:.3f}" for key, value in result["ks_D"].items())
    return (
        f"{result['environment']}/{result['profile']}: {result['successes']} of {result['n']} resets succeed, 95 % Wilson "
        f"{result['wilson_low']:.3f} – {result['wilson_high']:.3f}; attempts {result['attempts']}; mean "
        f"{result['duration_mean_s']} s; Kolmogorov–Smirnov D: {ks}"
    )
