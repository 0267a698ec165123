"""Many stations on one machine: what the idle lab costs, how fast a live station flow starts an iteration, what locks.

    python -m benchmarks.fleet_size --stations 32 --json
    python -m benchmarks.fleet_size --stations 32 --minutes 60 --json      # the hour without "database is locked"

Starts a lab of simulated stations, leaves it alone for a minute (CPU of Prefect server and fleet), then runs a station
flow on every pool that starts iterations without work (`benchmarks/fleet_probe.py`), somewhat more often than a campaign
at real time, whose trials take some four minutes each. `iteration_start` is the time from the call to the iteration's running, once
all station flows are live; `first_iteration` the same while they all start at once.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil

from commands.down import stop_lab
from commands.environment import adopt, service_environment
from commands.lab_state import LabState, read_state
from commands.up import start_lab
from data.lab import Lab, default_config
from nightlab.errors import NightlabError

SETTLE_S = 20.0
"""After the start, before the idle minute."""
LOCKED = "database is locked"


def cpu_s(state: LabState, name: str) -> float:
    """CPU time of a process of the lab and all below it, seconds."""
    process = psutil.Process(state.processes[name].pid)
    times = [one.cpu_times() for one in (process, *process.children(recursive=True))]
    return float(sum(found.user + found.system for found in times))


def idle(state: LabState, seconds: float) -> dict[str, float]:
    """Cores that Prefect server and fleet use while nothing runs."""
    before = {name: cpu_s(state, name) for name in ("prefect", "fleet")}
    begin_s = time.monotonic()
    time.sleep(seconds)
    wall_s = time.monotonic() - begin_s
    cores = {name: (cpu_s(state, name) - before[name]) / wall_s for name in before}
    return {**{name: round(value, 3) for name, value in cores.items()}, "sum": round(sum(cores.values()), 3)}


async def starts(
    lab: Lab, state: LabState, n: int, every_s: float, takes_s: float, room: Path
) -> list[list[tuple[float, float]]]:
    """(from the call to its running, to its end), wall seconds, per station and iteration; raises if a probe fails."""
    from prefect.client.orchestration import get_client
    from prefect.context import AsyncClientContext

    from commands.deployments import deploy, load
    from commands.prefect_api import start_run
    from flows.follow import Followed, states

    robots = [place.station for place in state.stations]
    flow = load("benchmarks.fleet_probe.probe")
    async with get_client() as client:
        flow_id = await client.create_flow_from_name(flow.name)
        for robot in robots:
            await deploy(client, flow, flow_id, "benchmarks.fleet_probe.probe", robot, robot, {"station": robot})
    each = -(-n // len(robots))
    async with AsyncClientContext.get_or_create():
        followed = Followed(states)

        async def probed(robot: str) -> None:
            asked = {"station": robot, "stations": len(robots), "n": each, "every_s": every_s, "takes_s": takes_s}
            found = await followed.end(await start_run(f"probe/{robot}", {**asked, "room": str(room)}))
            if found is None or not found.is_completed():
                raise RuntimeError(f"the probe of {robot} ended {found}; see {lab.run_dir}/logs")

        await asyncio.gather(*(probed(robot) for robot in robots))
    return [[(start, end) for start, end in json.loads((room / f"{robot}.json").read_text())] for robot in robots]


def quantiles(values: Sequence[float]) -> dict[str, float]:
    """How many, median, 95th percentile and largest, seconds."""
    found = sorted(values)
    at = {"p50_s": len(found) // 2, "p95_s": min(len(found) - 1, int(0.95 * len(found))), "max_s": -1}
    return {"n": len(found), **{name: round(found[index], 3) for name, index in at.items()}}


def locked(lab: Lab) -> int:
    """Lines about a locked database in the logs of all processes: several for each request that met one.

    Prefect's server logs them because `commands.environment` asks it to; by itself it answers 503 in silence.
    """
    logs = (lab.run_dir / "logs").glob("*.log*")
    return sum(LOCKED in line for path in logs for line in path.read_text(errors="replace").splitlines())


def measure(
    path: Path, stations: int, *, n: int, idle_s: float, minutes: float, every_s: float, say: Any
) -> dict[str, Any]:
    """Start a lab at `path`, measure, stop it.

    Args:
        path: Where; must not exist.
        stations: Simulated Push-T stations, at real time.
        n: Iterations to start at least, over all stations.
        idle_s: Length of the idle measurement, wall seconds.
        minutes: How long iterations are started at least.
        every_s: Mean pause of a station between two iterations, wall seconds.
        say: Gets lines of progress.
    """
    lab = Lab.create(path, default_config("push_t", stations, "nominal", 1.0))
    begin_s = time.monotonic()
    start_lab(path, say=lambda _: None, timeout_s=900.0)
    try:
        state = read_state(lab)
        assert state is not None
        adopt(service_environment(lab.path, state.api_url))
        ready_s = time.monotonic() - begin_s
        say(f"{stations} stations ready after {ready_s:.0f} s; idle for {SETTLE_S + idle_s:.0f} s")
        time.sleep(SETTLE_S)
        cores = idle(state, idle_s)
        say(f"idle: {cores['sum']:.2f} cores (Prefect server {cores['prefect']:.2f}, fleet {cores['fleet']:.2f})")
        begin_s = time.monotonic()
        with tempfile.TemporaryDirectory() as room:
            took = asyncio.run(starts(lab, state, n, every_s, 60 * minutes, Path(room)))
        busy_s = time.monotonic() - begin_s
        after = read_state(lab)
        restarts = sum(process.restarts for process in after.processes.values()) if after else None
        return {
            "stations": stations, "ready_s": round(ready_s, 1), "idle_s": idle_s, "idle_cores": cores,
            "every_s": every_s,
            "iteration_start": quantiles([start for mine in took for start, _ in mine[1:]]),
            "empty_iteration": quantiles([end for mine in took for _, end in mine[1:]]),
            "first_iteration": quantiles([mine[0][0] for mine in took]),
            "database_is_locked": locked(lab), "restarts": restarts, "wall_s": round(busy_s, 1),
            "load_average": round(os.getloadavg()[1], 1),
        }  # fmt: skip
    finally:
        stop_lab(path, say=lambda _: None)


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line of the module."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fleet_size", description=__doc__)
    parser.add_argument("--stations", type=int, default=32)
    parser.add_argument("--n", type=int, default=200, help="iterations to start, over all stations")
    parser.add_argument("--idle", type=float, default=60.0, help="length of the idle measurement, wall seconds")
    parser.add_argument("--minutes", type=float, default=0.0, help="start iterations for so long at least")
    parser.add_argument("--every", type=float, default=200.0, help="mean pause of a station between two, wall seconds")
    parser.add_argument("--lab", type=Path, help="must not exist; default: a temporary one")
    parser.add_argument("--json", action="store_true", dest="as_json")
    asked = parser.parse_args(arguments)
    try:
        with tempfile.TemporaryDirectory(prefix="nightlab-fleet-") as room:
            found = measure(
                asked.lab or Path(room) / "lab", asked.stations, n=asked.n, idle_s=asked.idle, minutes=asked.minutes,
                every_s=asked.every, say=lambda line: print(line, file=sys.stderr, flush=True),
            )  # fmt: skip
    except NightlabError as error:
        print(error, file=sys.stderr)
        return 2
    if asked.as_json:
        print(json.dumps(found))
    else:
        for key, value in found.items():
            print(f"{key:20} {value}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
