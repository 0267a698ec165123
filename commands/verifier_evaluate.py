"""`nightlab verifier evaluate`: the frozen verifier against ground truth, through its own process.

A balanced set of states whose truth is known, and the ends of a good policy's episodes. Stations are simulated in this
process, the verifier is the real one behind its socket; nothing is written into a lab.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nightlab.errors import ServiceError, UsageError

if TYPE_CHECKING:
    from environments.exam import Case, Tally

PROJECT = Path(__file__).resolve().parents[1]
READY_S = 300.0
CALL_S = 600.0
"""How long start and one verdict may take: a measurement must not fail because the host is busy."""
TERMINAL_S = 4 * 3600.0
"""Wall seconds that the good policy may take for its episodes."""
LIMITS = {
    "agreement": 0.99,
    "false_positives": 0,
    "unsure_share": 0.05,
    "latency_p95_s": 0.150,
    "cpu_s_per_frame": 0.030,
}
"""What a verifier must reach; `passed` in the figures says whether it does."""


def evaluate(
    env: Annotated[str, typer.Argument(help="Environment")],
    n: Annotated[int, typer.Option(help="States of the balanced set")] = 500,
    terminal: Annotated[int, typer.Option(help="Ends of a good policy's episodes, besides")] = 200,
    profile: Annotated[str, typer.Option(help="nominal, real, hard, or a YAML file")] = "nominal",
    seed: Annotated[int, typer.Option(help="Seed of the set and of the first simulated station")] = 0,
    stations: Annotated[int, typer.Option(help="Simulated stations that the states are dealt to")] = 5,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object")] = False,
) -> None:
    """Measure a verifier against ground truth: agreement, false verdicts, unsure share, time and CPU."""
    from environments import make
    from environments.exam import module

    make(env)
    for needed in ("exam", "truth"):
        module(env, needed)
    if n < 0 or terminal < 0 or n + terminal < 1 or stations < 1:
        raise UsageError(
            f"--n {n} --terminal {terminal} --stations {stations}: nothing to measure. Try: "
            f"nightlab verifier evaluate {env} --n 500 --terminal 200"
        )
    figures, wrong = asyncio.run(_measure(env, n, terminal, profile, seed, stations))
    if as_json:
        print(json.dumps({**figures, "wrong": wrong}))
        return
    _print(env, figures, wrong)


async def _measure(
    env: str, n: int, terminal: int, profile: str, seed: int, stations: int
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Start the verifier, have it judge every case, and count."""
    import psutil

    from environments.exam import Tally, module
    from environments.verifier_client import VerifierClient

    with tempfile.TemporaryDirectory(prefix="nl-exam-") as name:
        room = Path(name)
        process = await _start(room)
        try:
            client = await VerifierClient.connect(room / "v.sock", wait_s=READY_S, call_s=CALL_S)
            manifests = await client.manifests()
            judge = psutil.Process(process.pid)
            tally, frames, cpu_s = Tally(module(env, "exam").BAND), 0, 0.0
            async for case in _cases(env, n, terminal, profile, seed, stations, room):
                before = judge.cpu_times()
                await _judge(client, case, tally)
                after = judge.cpu_times()
                cpu_s += after.user + after.system - before.user - before.system
                frames += len(case.evidence.frames)
            await client.close()
        finally:
            process.terminate()
            await process.wait()
    figures = tally.figures(module(env, "exam").NEAR_SHARE)
    figures["cpu_s_per_frame"] = round(cpu_s / max(1, frames), 5)
    figures["frames"] = frames
    figures["passed"] = passed(figures)
    head = {"environment": env, "profile": profile, "verifier_sha256": manifests[env]}
    return head | figures, tally.wrong()


def passed(figures: dict[str, Any]) -> bool:
    """Whether the figures meet LIMITS."""
    enough = figures["agreement"] is not None and figures["agreement"] >= LIMITS["agreement"]
    most = ("false_positives", "unsure_share", "latency_p95_s", "cpu_s_per_frame")
    return enough and figures["unscored"] == 0 and all(figures[key] <= LIMITS[key] for key in most)


async def _judge(client: Any, case: Case, tally: Tally) -> None:
    from environments.frames import encode_depths, encode_frames

    pngs = encode_frames([frame.rgb for frame in case.evidence.frames])
    depths = encode_depths([frame.depth_m for frame in case.evidence.frames])
    begin_s = time.perf_counter()
    verdict = await client.verify(case.evidence, frames_png=pngs, depths_png=depths)
    tally.add(case, verdict, time.perf_counter() - begin_s)


async def _cases(
    env: str, n: int, terminal: int, profile: str, seed: int, stations: int, room: Path
) -> AsyncIterator[Case]:
    """The balanced set, then the ends of a good policy's episodes."""
    from environments import world
    from environments.exam import TruthStation, collect, load, module
    from robots.profiles import load_profile
    from robots.worlds import make_world

    chosen = load_profile(profile, world(env))
    made = [TruthStation(make_world(world(env), chosen, seed + number)) for number in range(min(stations, max(1, n)))]
    for number, state in enumerate(module(env, "exam").states(n, seed)):
        yield await collect(made[number % len(made)], env, state, seed * 100_000 + number)
    made.clear()
    if terminal:
        await _play(env, terminal, profile, seed, room)
        for path in sorted((room / "terminal").glob("*.case")):
            yield load(path, "terminal")


async def _play(env: str, terminal: int, profile: str, seed: int, room: Path) -> None:
    """Have a good policy play; it is a benchmark, which no command may import, so it runs beside."""
    argv = ["-m", "benchmarks.terminal_states", env, "--n", str(terminal), "--profile", profile, "--seed", str(seed)]
    process = await asyncio.create_subprocess_exec(
        sys.executable, *argv, "--out", str(room / "terminal"),
        stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE, cwd=PROJECT,
    )  # fmt: skip
    try:
        _, errors = await asyncio.wait_for(process.communicate(), TERMINAL_S)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        raise ServiceError(
            f"no ends of a good policy's episodes for {env}: python {' '.join(argv)} failed with "
            f"{errors.decode(errors='replace').strip()[-400:]}. Without them: nightlab verifier evaluate {env} --terminal 0"
        )


async def _start(room: Path) -> asyncio.subprocess.Process:
    """The verifier process, ready."""
    argv = [
        "-m",
        "environments.verifier_process",
        "--socket",
        str(room / "v.sock"),
        "--ready-file",
        str(room / "v.json"),
    ]
    with (room / "v.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            sys.executable, *argv, stdout=log, stderr=log, cwd=PROJECT, env={**os.environ, "OMP_NUM_THREADS": "1"}
        )
    deadline_s = time.monotonic() + READY_S
    while not (room / "v.json").exists():
        if process.returncode is not None or time.monotonic() > deadline_s:
            raise ServiceError(f"the verifier did not start: {(room / 'v.log').read_text().strip()[-600:]}")
        await asyncio.sleep(0.05)
    return process


def _print(env: str, figures: dict[str, Any], wrong: list[dict[str, Any]]) -> None:
    print(
        f"{env}: {figures['n']} verdicts, agreement {figures['agreement']} outside {figures['guard_band']}, "
        f"{figures['false_positives']} false positives, {figures['false_negatives']} false negatives, "
        f"unsure {figures['unsure_share']}, p95 {figures['latency_p95_s']} s, {figures['cpu_s_per_frame']} CPU-s a frame: "
        f"{'passed' if figures['passed'] else 'NOT passed'}"
    )
    for case in wrong:
        print(
            f"  {case['part']}: truth {case['truth']} ({case['value']}), verdict {case['verdict']} ({case['score']}, "
            f"{case['reason']}){' inside the band' if case['inside_band'] else ''}"
        )
