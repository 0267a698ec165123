"""`nightlab benchmark estop`: how long from the call to the last motion command, with every station busy.

Stations are processes of their own at real time on loopback, each under a control stream that never pauses. Each is
stopped again and again at a random moment, the way `nightlab estop` does it: a fresh connection, one call. Both instants
come from the host's clock: the call's from here, the last command's from the station server, which stamps every command
that it gives to its driver, and the moment from which it gives none. Then the station must refuse to move until the
operator's token has cleared it.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import random
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from nightlab.errors import EstopError, NightlabError, SafetyError, ServiceError

if TYPE_CHECKING:
    from nightlab.records import StationPlace
    from robots.client import StationClient
    from robots.stats import StationStats

PAUSE_S: Final = (0.1, 0.4)
"""Motion before each e-stop, wall seconds."""
WARM_UP: Final = 1
"""First e-stops of each station that are not counted."""
READY_S: Final = 120.0
REQUIRED_P99_S: Final = 0.050


def estop(
    n: Annotated[int, typer.Option(min=4, help="E-stops that are counted, over all stations")] = 1000,
    stations: Annotated[int, typer.Option(min=1, max=16, help="Stations, all busy at real time")] = 4,
    world: Annotated[str, typer.Option(help="World of the simulated stations")] = "push_t",
    seed: Annotated[int, typer.Option(help="Of the moments at which it is pressed")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object")] = False,
) -> None:
    """Measure the e-stop: from the call to the last motion command."""
    found = asyncio.run(measure(n, stations, world, seed))
    if as_json:
        print(json.dumps(found))
        return
    held = "holds" if found["p99_s"] <= REQUIRED_P99_S else "is exceeded"
    print(
        f"n {found['n']}: from the call to the last motion command p50 {1000 * found['p50_s']:.1f} ms, p99 "
        f"{1000 * found['p99_s']:.1f} ms, max {1000 * found['max_s']:.1f} ms ({1000 * REQUIRED_P99_S:g} ms {held}); "
        f"confirmed p99 {1000 * found['confirmed_p99_s']:.1f} ms; {stations} stations at {found['rate_hz']:g} Hz, achieved "
        f"speed {found['achieved_speed']:.3f}; commands after it {found['moved_after']}, refused while latched "
        f"{found['refused_while_latched']}"
    )


@dataclass(slots=True)
class Tally:
    """What was measured."""

    stopped_s: list[float] = field(default_factory=list)
    confirmed_s: list[float] = field(default_factory=list)
    moved_after: int = 0
    """Stations that gave a command after they had said that they were stopped; must stay 0."""
    refused: int = 0
    """Stations that refused to move while latched; must be all."""
    steps: int = 0
    rate_hz: float = 0.0


async def measure(n: int, stations: int, world: str, seed: int) -> dict[str, Any]:
    """Run the measurement; the stations are started and stopped here.

    Raises:
        ServiceError: the stations do not start.
    """
    import numpy as np

    gc.freeze()  # a walk over all that is imported would count as the station's
    wall_0 = time.time() - time.monotonic()
    tally = Tally()
    with tempfile.TemporaryDirectory(prefix="nightlab-estop-") as folder:
        room = Path(folder)
        async with serving(room, stations, world) as places:
            each = [n // stations + (number < n % stations) for number in range(stations)]
            runs = (
                _station(place, "operator", count, random.Random(seed * 1000 + number), tally, wall_0)
                for number, (place, count) in enumerate(zip(places, each, strict=True))
            )
            ended = await asyncio.gather(*runs)
    wall_s, station_s = sum(end.control_wall_s for end in ended), sum(end.control_station_s for end in ended)
    periods = sum(end.periods for end in ended)
    return {
        "n": len(tally.stopped_s),
        "p50_s": float(np.quantile(tally.stopped_s, 0.5, method="higher")),
        "p99_s": float(np.quantile(tally.stopped_s, 0.99, method="higher")),
        "max_s": max(tally.stopped_s),
        "confirmed_p50_s": float(np.quantile(tally.confirmed_s, 0.5, method="higher")),
        "confirmed_p99_s": float(np.quantile(tally.confirmed_s, 0.99, method="higher")),
        "moved_after": tally.moved_after,
        "refused_while_latched": tally.refused,
        "stations": stations,
        "world": world,
        "rate_hz": tally.rate_hz,
        "control_periods": periods,
        "late_share": sum(end.late for end in ended) / periods,
        "achieved_speed": station_s / wall_s if wall_s else None,
        "warm_up": WARM_UP * stations,
        "what": "wall seconds from the call (a fresh connection included) to the station's last motion command, or to the "
        "instant from which it gives none, whichever is later",
    }


async def _station(
    place: StationPlace, token: str, count: int, moments: random.Random, tally: Tally, wall_0: float
) -> StationStats:
    """Stop one station `count` times; returns what it did in all."""
    from robots.client import StationClient, estop_now

    client = await StationClient.connect(place.address)
    try:
        spec = await client.describe()
        tally.rate_hz = spec.rate_hz
        lease = await client.lease("benchmark", spec.limits, ttl_s=30.0)
        for number in range(count + WARM_UP):
            motion = asyncio.create_task(_move(client, lease, tally))
            await asyncio.sleep(moments.uniform(*PAUSE_S))
            if motion.done():
                motion.result()  # it must not end by itself
            begin = time.monotonic()
            await estop_now(place.address, "benchmark")
            confirmed = time.monotonic()
            with contextlib.suppress(EstopError):
                await motion
            stats = await client.stats()
            stopped_s = max(stats.estop_s, stats.last_motion_s) - (wall_0 + begin)
            try:
                async with client.control(lease) as session:
                    await session.hold()
            except EstopError:
                tally.refused += number >= WARM_UP
            await asyncio.sleep(2.0 / spec.rate_hz)
            tally.moved_after += (await client.stats()).last_motion_s > stats.last_motion_s
            await client.clear_estop(token)
            if number >= WARM_UP:
                tally.stopped_s.append(stopped_s)
                tally.confirmed_s.append(confirmed - begin)
        return await client.stats()
    finally:
        await client.close()


async def _move(client: StationClient, lease: Any, tally: Tally) -> None:
    """Drive to and fro until the e-stop; a stream that stopped because this host was too late is opened again."""
    while True:
        async with client.control(lease, "benchmark") as session:
            action = dict((await session.hold()).executed)
            key = next(iter(action))
            with contextlib.suppress(SafetyError):
                while True:
                    for sign in (1.0, -1.0):
                        await session.step([{**action, key: action[key] + sign * 1e-3}])
                        tally.steps += 1


@contextlib.asynccontextmanager
async def serving(room: Path, stations: int, world: str) -> Any:
    """Station servers at real time, with the operator's token `operator`."""
    from nightlab.processes import spawn_async, stop_async
    from nightlab.records import StationPlace

    token = room / "token"
    token.write_text("operator")
    processes, files = [], []
    try:
        for number in range(1, stations + 1):
            name = f"robot-{number}"
            files.append(room / f"{name}.json")
            argv: list[str | Path] = [
                sys.executable, "-m", "robots.serve", "--station", name, "--world", world, "--speed", "1",
                "--latch-file", room / f"{name}.latch", "--operator-token-file", token, "--ready-file", files[-1],
            ]  # fmt: skip
            processes.append(await spawn_async(argv, stdout=asyncio.subprocess.DEVNULL))
        give_up = time.monotonic() + READY_S
        while not all(file.exists() for file in files):
            if time.monotonic() > give_up or any(process.returncode is not None for process in processes):
                raise ServiceError(f"{stations} stations of {world!r} did not start; see: nightlab doctor")
            await asyncio.sleep(0.05)
        yield [StationPlace.model_validate_json(file.read_text()) for file in files]
    finally:
        for process in processes:
            with contextlib.suppress(NightlabError, ProcessLookupError):
                await stop_async(process, 3.0)
