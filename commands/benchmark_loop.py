"""`nightlab benchmark loop`: the control loop at 100 Hz, through policy sandbox, client and station on loopback.

The station (driver `echo`, a 32-float state) is one process, the control loop with its sandboxed policy another, as in a
campaign. A round trip begins when the station hands out an observation and ends when it has the action that answers it:
serialisation, the control socket both ways, client, sandbox and policy lie between. It is stamped by the station. An action
that takes longer than one control period is late. Measured alone, and with a second station and its policy beside; before
both the same over gRPC, as from another host, and what a gRPC stream alone takes on this host (`commands/benchmark_grpc.py`).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from commands.benchmark_grpc import yardstick
from nightlab.errors import SafetyError, ServiceError

RATE_HZ: Final = 100.0
FLOATS: Final = 32
MOST_BARE: Final = 2000
"""Round trips of gRPC alone, and over gRPC."""
WARM_UP: Final = 100
"""First control periods of the first stream, which are not counted."""
READY_S: Final = 120.0
MOST_STOPS: Final = 1000
"""Streams that may stop because three actions in a row were late; each is opened again, and its late actions count."""
REQUIRED_P50_S: Final = 0.002
POLICY: Final = """
class Policy:
    def reset(self, spec, seed): pass
    def act(self, observation): return [{"target": 0.99 * observation["state"] + 0.001}]
    def close(self): pass


def make_policy(checkpoint): return Policy()
"""


def loop(
    n: Annotated[int, typer.Option(min=100, help="Control periods that are counted, of each run")] = 6000,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object")] = False,
) -> None:
    """Measure the control loop: round trip and late actions at 100 Hz, alone and beside a second station."""
    found = asyncio.run(measure(n))
    if as_json:
        print(json.dumps(found))
        return
    bare = found["grpc_alone"]
    print(f"{found['rate_hz']:g} Hz, {found['state_floats']} floats, sandbox {found['sandbox']}, n {n} periods each")
    for name in ("alone", "beside_a_second", "over_grpc"):
        row = found[name]
        print(
            f"  {name.replace('_', ' '):<18} round trip p50 {1000 * row['p50_s']:.2f} ms, p99 {1000 * row['p99_s']:.2f} ms, "
            f"max {1000 * row['max_s']:.1f} ms; late {row['late']}/{row['n']} ({100 * row['late_share']:.2f} %)"
        )
    print(
        f"  a gRPC stream alone   p50 {1000 * bare['p50_s']:.2f} ms, p99 {1000 * bare['p99_s']:.2f} ms (n {bare['n']})"
    )


async def measure(n: int) -> dict[str, Any]:
    """Run both measurements.

    Raises:
        ServiceError: a station or a control loop did not start or died.
    """
    with tempfile.TemporaryDirectory(prefix="nightlab-loop-") as folder:
        room = Path(folder)
        bare = await yardstick(room, RATE_HZ, min(n, MOST_BARE))
        over_grpc = (await _together(room, 1, min(n, MOST_BARE), local=False))[0]
        alone = (await _together(room, 1, n))[0]
        first, second = await _together(room, 2, n)
    return {
        "rate_hz": RATE_HZ,
        "state_floats": FLOATS,
        "n": n,
        "warm_up": WARM_UP,
        "sandbox": alone.pop("sandbox"),
        "p50_s": alone["p50_s"],
        "late_share": alone["late_share"],
        "grpc_alone": {"n": len(bare), **quantiles(bare)},
        "over_grpc": {key: value for key, value in over_grpc.items() if key != "sandbox"},
        "alone": alone,
        "beside_a_second": {key: value for key, value in first.items() if key != "sandbox"},
        "the_second": {key: value for key, value in second.items() if key != "sandbox"},
        "what": "wall seconds from an observation's leaving the station's control thread to its having the answering action",
    }


async def _together(room: Path, stations: int, n: int, *, local: bool = True) -> list[dict[str, Any]]:
    """Stations with a control loop each, at the same time."""
    from nightlab.processes import stop_async

    servers = []
    try:
        addresses = []
        for number in range(1, stations + 1):
            process, address = await _serve(room, f"loop-{stations}-{number}-{'local' if local else 'grpc'}")
            servers.append(process)
            addresses.append(address)
        return list(await asyncio.gather(*(_driven(room, address, n, local) for address in addresses)))
    finally:
        for process in servers:
            await stop_async(process, 3.0)


async def _serve(room: Path, name: str) -> tuple[asyncio.subprocess.Process, str]:
    from nightlab.processes import spawn_async
    from nightlab.records import StationPlace

    config, ready = room / f"{name}.yaml", room / f"{name}.json"
    config.write_text(
        f"station: {name}\ndriver: echo\nrate_hz: {RATE_HZ:g}\nconfig: {{joints: {FLOATS}}}\nstate_dir: {room / name}\n"
    )
    argv: list[str | Path] = [sys.executable, "-m", "robots.serve", "--config", config, "--ready-file", ready]
    process = await spawn_async(argv, stdout=asyncio.subprocess.DEVNULL)
    give_up = time.monotonic() + READY_S
    while not ready.exists():
        if process.returncode is not None or time.monotonic() > give_up:
            raise ServiceError(f"the station {name} did not start; see: nightlab doctor")
        await asyncio.sleep(0.05)
    return process, StationPlace.model_validate_json(ready.read_text()).address


async def _driven(room: Path, address: str, n: int, local: bool) -> dict[str, Any]:
    """The control loop in a process of its own."""
    from nightlab.processes import spawn_async

    argv: list[str | Path] = [sys.executable, "-m", "commands.benchmark_loop", "--address", address, "--room", room]
    argv += ["--n", str(n), *([] if local else ["--grpc"])]
    process = await spawn_async(argv, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE)
    out, err = await process.communicate()
    if process.returncode:
        raise ServiceError(f"the control loop ended with {process.returncode}: {err.decode(errors='replace')[-600:]}")
    found: dict[str, Any] = json.loads(out)
    return found


async def drive(address: str, room: Path, n: int, *, local: bool = True) -> dict[str, Any]:
    """One control loop: sandboxed policy, client, station; n periods after the warm-up."""
    from policies.host import PolicyProcess
    from robots.client import StationClient

    code, checkpoint = room / "code", room / "checkpoint"
    for folder in (code, checkpoint):
        folder.mkdir(exist_ok=True)
    (code / "policy.py").write_text(POLICY)
    policy = await PolicyProcess.start(code, checkpoint)
    client = await StationClient.connect(address, local=local)
    waited_s: list[float] = []
    late, stopped, warm_up = 0, 0, WARM_UP
    wall_s = station_s = 0.0
    try:
        spec = await client.describe()
        lease = await client.lease("benchmark", spec.limits)
        await policy.reset(spec, 0)
        while len(waited_s) < n:
            async with client.control(lease, "loop") as session:
                seen = await session.hold()
                warm = replace(session.stats)
                try:
                    for number in range(warm_up + n - len(waited_s)):
                        chunk = await policy.act(seen.values)
                        assert chunk is not None
                        seen = (await session.step(chunk))[-1]
                        if number >= warm_up:
                            waited_s.append(session.stats.waited_s)
                        elif number == warm_up - 1:
                            warm = replace(session.stats)
                except SafetyError:  # three late in a row: the stream stopped
                    stopped += 1
                if session.stats.steps > warm_up:
                    late += session.stats.late - warm.late
                    wall_s += session.stats.end.wall_s - warm.end.wall_s
                    station_s += session.stats.end.station_s - warm.end.station_s
                    warm_up = 0
                if stopped > MOST_STOPS:
                    raise ServiceError(
                        f"this host is too busy for {RATE_HZ:g} Hz: {stopped} streams stopped for late actions"
                    )
    finally:
        await client.close()
        await policy.close()
    return {
        "n": len(waited_s),
        **quantiles(waited_s),
        "late": late,
        "late_share": late / len(waited_s),
        "stopped_streams": stopped,
        "achieved_speed": station_s / wall_s,
        "sandbox": policy.level,
    }


def quantiles(waited_s: Sequence[float]) -> dict[str, float]:
    """Median, 99th percentile and largest, seconds."""
    import numpy as np

    at = {"p50_s": 0.5, "p99_s": 0.99, "max_s": 1.0}
    return {name: float(np.quantile(waited_s, q, method="higher")) for name, q in at.items()}


def main(arguments: list[str] | None = None) -> int:
    """One control loop, as JSON: `measure` starts it as a process."""
    parser = argparse.ArgumentParser(prog="python -m commands.benchmark_loop", description=__doc__)
    parser.add_argument("--address", required=True)
    parser.add_argument("--room", type=Path, required=True)
    parser.add_argument("--n", type=int, required=True)
    parser.add_argument("--grpc", action="store_true", help="control streams over gRPC, as from another host")
    asked = parser.parse_args(arguments)
    print(json.dumps(asyncio.run(drive(asked.address, asked.room, asked.n, local=not asked.grpc))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
