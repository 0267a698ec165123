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
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from commands.reset_record import CheckedReset, ResetRecord, Subject, version_of
from nightlab.errors import NightlabError, StationError, UsageError
from nightlab.records import StationPlace

ASKED_N = 20_000
"""Starts sampled from other seeds, whose distribution the achieved ones are compared with."""
FAULTS = 3
"""Station faults in a row after which the check gives up."""
TTL_s = 30.0
"""Silence after which a station takes its lease back: a busy computer may keep the checker waiting."""


def reset_check(
    environment: Annotated[str, typer.Argument(help="Environment, e.g. pin_insertion")],
    n: Annotated[int, typer.Option(help="Resets")] = 200,
    profile: Annotated[str, typer.Option(help="nominal, real, hard, or a YAML file")] = "nominal",
    seed: Annotated[int, typer.Option(help="First start seed, and seed of the stations")] = 0,
    stations: Annotated[int, typer.Option(help="Simulated stations side by side")] = 2,
    speed: Annotated[str, typer.Option(help="Times real time, or max")] = "max",
    record: Annotated[
        Path | None, typer.Option(help="File that keeps each reset; started again, the rest is done")
    ] = None,
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
    seeds = range(seed, seed + n)
    kept = ResetRecord(record, Subject(environment, profile, version_of(environment)))
    asyncio.run(
        check(
            kept,
            seeds,
            station_seed=seed,
            stations=check_stations(stations),
            speed=read_speed(speed, environment),
            say=partial(typer.echo, err=as_json),  # one JSON object on stdout, the progress beside it
        )
    )
    facts = {"environment": environment, "profile": profile, "seed": seed, "stations": stations}
    result = {**facts, **figures(environment, kept.of(seeds)), "wall_s": round(time.monotonic() - begin_s, 1)}
    typer.echo(json.dumps(result) if as_json else sentence(result))


async def check(
    record: ResetRecord,
    seeds: Sequence[int],
    *,
    station_seed: int = 0,
    stations: int = 2,
    speed: float = 0.0,
    say: Callable[[str], object] = print,
) -> None:
    """Reset to each of the seeds that `record` lacks, on fresh stations; every station does its share of them."""
    from commands.evaluate import spawn_stations, wait_ready
    from environments import world

    shares = [share for share in (record.missing(seeds[number::stations]) for number in range(stations)) if share]
    if not shares:
        return
    subject = record.subject
    room = Path(tempfile.mkdtemp(prefix="nightlab-reset-"))
    room.chmod(0o700)
    processes: list[asyncio.subprocess.Process] = []
    try:
        names = [f"robot-{number}" for number in range(1, len(shares) + 1)]
        bench = world(subject.environment)
        waiting = await spawn_stations(room, names, bench, subject.profile, speed, station_seed, processes)
        await wait_ready(waiting, processes, room)
        places = [StationPlace.model_validate_json((room / f"{name}.json").read_text()) for name in names]
        await asyncio.gather(
            *(_one_station(place, share, record, say) for place, share in zip(places, shares, strict=True))
        )
    finally:
        for process in processes:
            if process.returncode is None:
                process.terminate()
        await asyncio.gather(*(process.wait() for process in processes))
        shutil.rmtree(room, ignore_errors=True)


async def _one_station(
    place: StationPlace, seeds: Sequence[int], record: ResetRecord, say: Callable[[str], object]
) -> None:
    from environments import make
    from robots.admin import AdminClient
    from robots.client import StationClient

    subject = record.subject
    environment, rehearse = make(subject.environment), rehearsal(subject.environment)
    station = await StationClient.connect(place.address)
    assert place.admin_socket is not None
    admin = await AdminClient.connect(Path(place.admin_socket))
    left, in_a_row = "", 0
    try:
        lease = await station.lease("reset-check", environment.limits, TTL_s)
        for seed in seeds:
            done = CheckedReset(
                environment=subject.environment,
                profile=subject.profile,
                version=subject.version,
                station_seed=place.station_seed,
                seed=seed,
                left=left,
            )
            kept = False
            try:
                report = await environment.reset(station, lease, seed, admin=admin)
                done = done.model_copy(update={"report": report, "truth": dict(await admin.truth())})
                record.add(done)
                kept = True
                say(_line(place.station, done))
                if report.success:
                    left = await rehearse(environment, station, lease, admin, seed) if rehearse else ""
                else:
                    left = "laid anew"
                    await admin.configure(subject.profile, place.station_seed)
                in_a_row = 0
            except StationError as error:
                done = done.model_copy(update={"fault": f"{place.station}, seed {seed}: {error}"})
                if not kept:  # a fault of the rehearsal spoils no reset; the next one begins with a fresh scene
                    record.add(done)
                say(_line(place.station, done))
                in_a_row += 1
                if in_a_row >= FAULTS:
                    raise
                await lease.release()
                await admin.configure(subject.profile, place.station_seed)
                lease = await station.lease("reset-check", environment.limits, TTL_s)
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


def figures(environment: str, checks: Sequence[CheckedReset]) -> dict[str, Any]:
    """What `--json` prints. Distances in the environment's own unit; durations in station seconds."""
    from scipy.stats import ks_2samp

    from data.statistics import wilson

    ended = [(one, one.report) for one in checks if one.report is not None]
    done = [(one, report) for one, report in ended if report.success]
    n = len(checks)
    low, high = wilson(len(done), n)
    asked = asked_starts(environment)
    by_sensors = {key: [report.achieved[key] for _, report in done] for key in asked}
    by_truth = {key: [one.truth[key] for one, _ in done if key in one.truth] for key in asked}
    durations = sorted(report.duration_s for _, report in done)
    distances = [report.distance for _, report in done]
    return {
        "n": n,
        "successes": len(done),
        "success": round(len(done) / n, 4) if n else None,
        "wilson_low": round(low, 4),
        "wilson_high": round(high, 4),
        "attempts": {str(key): count for key, count in sorted(Counter(report.attempts for _, report in done).items())},
        "ks_D": {key: _rounded(ks_2samp(values, asked[key]).statistic) for key, values in by_sensors.items() if values},
        "ks_D_true": {
            key: _rounded(ks_2samp(values, asked[key]).statistic) for key, values in by_truth.items() if values
        },
        "duration_mean_s": _rounded(sum(durations) / len(durations)) if durations else None,
        "duration_p95_s": _rounded(durations[math.ceil(0.95 * len(durations)) - 1]) if durations else None,
        "distance_mean": _rounded(sum(distances) / len(distances), 5) if distances else None,
        "distance_max": _rounded(max(distances), 5) if distances else None,
        "simulator_shortcut": any(report.simulator_shortcut for _, report in ended),
        "done": dict(sum((Counter(report.counts) for _, report in ended), Counter())),
        "found_after": dict(Counter(one.left or "fresh scene" for one in checks)),
        "gave_up": [
            f"seed {one.seed} after {one.left}: {report.reason}" for one, report in ended if not report.success
        ],
        "faults": [one.fault for one in checks if one.fault],
    }


def _rounded(value: float, digits: int = 4) -> float:
    return round(float(value), digits)


def _line(station: str, done: CheckedReset) -> str:
    left, report = done.left or "fresh scene", done.report
    if done.fault or report is None:
        return f"{station} FAULT seed {done.seed} after {left}: {done.fault}"
    state = "ok  " if report.success else "FAIL"
    why = f"  {report.reason}" if report.reason else ""
    return (
        f"{station} {state} seed {done.seed}: {report.attempts} attempts, {report.duration_s:.1f} s, after {left}{why}"
    )


def sentence(result: Mapping[str, Any]) -> str:
    """The figures for people."""
    ks = ", ".join(f"{key} {value:.3f}" for key, value in result["ks_D"].items())
    return (
        f"{result['environment']}/{result['profile']}: {result['successes']} of {result['n']} resets succeed, 95 % Wilson "
        f"{result['wilson_low']:.3f} – {result['wilson_high']:.3f}; attempts {result['attempts']}; mean "
        f"{result['duration_mean_s']} s; Kolmogorov–Smirnov D: {ks}"
    )
