"""`nightlab verifier evaluate`: the frozen verifier against ground truth, through its own process.

A balanced set of states whose truth is known, and the ends of a good policy's episodes. First all cases are made, unless
they were kept from an earlier run (environments/workbench/kept_cases.py); then the real verifier judges them behind its
socket, one after the other, with nothing else going on here. Nothing is written into a lab.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nightlab.errors import ServiceError, UsageError

if TYPE_CHECKING:
    from environments.workbench.kept_cases import KeptCases

PROJECT = Path(__file__).resolve().parents[1]
READY_S = 300.0
CALL_S = 600.0
"""How long start and one verdict may take: a measurement must not fail because the host is busy."""
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
    cases: Annotated[
        list[Path] | None,
        typer.Option(help="Folder of kept cases, judged as it is whatever the code is now; repeatable"),
    ] = None,
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
    try:
        figures, wrong = asyncio.run(_whole(env, n, terminal, profile, seed, stations, cases or []))
    except asyncio.CancelledError:
        print("nightlab: stopped; the cases made so far are kept, the same command goes on", file=sys.stderr)
        raise typer.Exit(128 + signal.SIGTERM) from None
    if as_json:
        print(json.dumps({**figures, "wrong": wrong}))
        return
    _print(env, figures, wrong)


async def _whole(
    env: str, n: int, terminal: int, profile: str, seed: int, stations: int, folders: list[Path]
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Make what is missing of the cases, then measure. SIGTERM ends it in order."""
    from commands import verifier_cases

    whole = asyncio.current_task()
    assert whole is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, whole.cancel)
    begin_s, parts = time.monotonic(), list[tuple["KeptCases", int]]()
    failed = 0
    if folders:
        from environments.workbench.kept_cases import cases_at

        found = [cases_at(env, folder) for folder in folders]
        parts = [(kept, min(len(kept), n if kept.part == "balanced" else terminal)) for kept in found]
        n = terminal = 0
    if n:
        parts.append((await verifier_cases.balanced(env, n, profile, seed, stations), n))
    if terminal:
        kept, failed = await verifier_cases.terminal(env, terminal, profile, seed)
        parts.append((kept, terminal))
    if not any(count for _, count in parts):
        raise UsageError(
            f"no case to judge in {', '.join(map(str, folders))}. Try: nightlab verifier evaluate {env} --n 60"
        )
    made_s = time.monotonic() - begin_s
    figures, wrong = await measure(env, parts)
    head = {"environment": env, "profile": profile, "seed": seed}
    spent: dict[str, Any] = {"making_cases_s": round(made_s, 1), "failed_resets": failed}
    spent["cases"] = [
        {"part": kept.part, "n": count, "folder": kept.folder.name, "changed": kept.changed} for kept, count in parts
    ]
    return head | figures | spent, wrong


async def measure(env: str, parts: list[tuple[KeptCases, int]]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Have the verifier's process judge the first so many cases of each part; figures, and the verdicts that are wrong."""
    from commands.progress import Progress
    from environments.exam import module
    from environments.exam_tally import Tally
    from environments.verifier_client import VerifierClient
    from nightlab.processes import stop_async

    exam, loads = module(env, "exam"), [os.getloadavg()[0]]
    tally, frames, spent = Tally(exam.BAND), 0, list[float]()
    progress = Progress(f"{env}: verdicts", sum(n for _, n in parts))
    with tempfile.TemporaryDirectory(prefix="nl-exam-") as name:
        room = Path(name)
        process = await start_verifier(room)
        try:
            client = await VerifierClient.connect(room / "v.sock", wait_s=READY_S, call_s=CALL_S)
            manifests = await client.manifests()
            for kept, n in parts:
                for number in range(n):
                    case, before_s = kept.load(number), cpu_s(process.pid)
                    begin_s = time.perf_counter()
                    verdict = await client.verify_stored(env, case.stored, case.faults, case.start)
                    tally.add(case.known, verdict, time.perf_counter() - begin_s)
                    spent.append(cpu_s(process.pid) - before_s)
                    frames += len(case.stored.frames_png)
                    progress.at(progress.done + 1)
            await client.close()
        finally:
            await stop_async(process)
    figures = tally.figures(exam.NEAR_SHARE)
    figures["cpu_s_per_frame"] = round(sum(spent) / max(1, frames), 5)
    figures["cpu_s_per_verdict_p95"] = round(sorted(spent)[int(0.95 * (len(spent) - 1))], 4)
    figures["frames"] = frames
    figures["load_average"] = [round(load, 1) for load in (*loads, os.getloadavg()[0])]
    figures["passed"] = passed(figures)
    return {"verifier_sha256": manifests[env]} | figures, tally.wrong()


def passed(figures: dict[str, Any]) -> bool:
    """Whether the figures meet LIMITS."""
    enough = figures["agreement"] is not None and figures["agreement"] >= LIMITS["agreement"]
    most = ("false_positives", "unsure_share", "latency_p95_s", "cpu_s_per_frame")
    return enough and figures["unscored"] == 0 and all(figures[key] <= LIMITS[key] for key in most)


def cpu_s(pid: int) -> float:
    """CPU seconds that a process has used: to the nanosecond where the kernel counts so, else to the tick of 10 ms."""
    try:
        told = [path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/schedstat")]
    except OSError:
        told = []
    if told and all(line.split() for line in told):
        return sum(int(line.split()[0]) for line in told) / 1e9
    import psutil

    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


async def start_verifier(room: Path) -> asyncio.subprocess.Process:
    """The verifier process, ready behind `room/v.sock`. It dies with this process, however that ends."""
    from nightlab.processes import spawn_async

    argv = [sys.executable, "-m", "environments.verifier_process"]
    argv += ["--socket", str(room / "v.sock"), "--ready-file", str(room / "v.json")]
    with (room / "v.log").open("wb") as log:
        process = await spawn_async(
            argv, stdout=log, stderr=log, cwd=PROJECT, env={**os.environ, "OMP_NUM_THREADS": "1"}
        )
    deadline_s = time.monotonic() + READY_S
    while not (room / "v.json").exists():
        if process.returncode is not None or time.monotonic() > deadline_s:
            raise ServiceError(f"the verifier did not start: {(room / 'v.log').read_text().strip()[-600:]}")
        await asyncio.sleep(0.05)
    return process


def _print(env: str, figures: dict[str, Any], wrong: list[dict[str, Any]]) -> None:
    low, high = figures["agreement_wilson"] or (0.0, 0.0)
    print(
        f"{env}: {figures['n']} verdicts, agreement {figures['agreement']} [{low}, {high}] of {figures['n_outside_band']} "
        f"outside {figures['guard_band']}, {figures['false_positives']} false positives, {figures['false_negatives']} false "
        f"negatives, unsure {figures['unsure_share']}, p95 {figures['latency_p95_s']} s at load "
        f"{figures['load_average'][-1]}, {figures['cpu_s_per_frame']} CPU-s a frame: "
        f"{'passed' if figures['passed'] else 'NOT passed'}"
    )
    for case in wrong:
        print(
            f"  {case['part']}: truth {case['truth']} ({case['value']}), verdict {case['verdict']} ({case['score']}, "
            f"{case['reason']}){' inside the band' if case['inside_band'] else ''}"
        )
