"""The cases of `nightlab verifier evaluate`: those kept from an earlier run with the same code, the others made now.

The balanced set is simulated in this process. The ends of a good policy's episodes come from a benchmark, which no command
may import, so it runs beside, and ends with this process.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from commands.progress import Progress
from nightlab.errors import ServiceError

if TYPE_CHECKING:
    from environments.workbench.kept_cases import KeptCases

PROJECT = Path(__file__).resolve().parents[1]
PLAYER = "benchmarks.terminal_states"
POLL_S = 1.0
"""Wall seconds between two looks at how far the good policy is."""


async def balanced(env: str, n: int, profile: str, seed: int, stations: int) -> KeptCases:
    """The balanced set, whole."""
    from environments import world
    from environments.exam import TruthStation, collect, module
    from environments.workbench.kept_cases import open_cases
    from robots.profiles import load_profile
    from robots.worlds import make_world

    kept = open_cases(env, "balanced", profile, n=n, seed=seed, stations=stations)
    missing = kept.missing(n)
    if not missing:
        return kept
    chosen = load_profile(profile, world(env))
    made: dict[int, TruthStation] = {}
    states, progress = module(env, "exam").states(n, seed), Progress(f"{env}: states", n, n - len(missing))
    for number in missing:
        at = number % stations
        if at not in made:
            made[at] = TruthStation(make_world(world(env), chosen, seed + at))
        kept.save(number, await collect(made[at], env, states[number], seed * 100_000 + number))
        progress.at(progress.done + 1)
    return kept


async def terminal(env: str, n: int, profile: str, seed: int) -> tuple[KeptCases, int]:
    """The ends of a good policy's episodes, whole, and how many resets failed on the way."""
    from environments.workbench.kept_cases import open_cases
    from nightlab.processes import spawn_async, stop_async

    reference = f"benchmarks.reference.{env}"
    kept = open_cases(
        env, "terminal", profile, seed=seed, modules=[f"{reference}.policy"] if _is_ours(env) else [],
        also=[f"{PLAYER.replace('.', '/')}.py", f"{reference.replace('.', '/')}/params.yaml"],
    )  # fmt: skip
    if not kept.missing(n):
        return kept, 0
    argv = ["-m", PLAYER, env, "--n", str(n), "--profile", profile, "--seed", str(seed), "--out", str(kept.folder)]
    process = await spawn_async(
        [sys.executable, *argv], stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=PROJECT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    try:
        told = asyncio.create_task(process.communicate())
        progress = Progress(f"{env}: episodes", n, len(kept))
        while not (await asyncio.wait([told], timeout=POLL_S))[0]:
            progress.at(len(kept))
        out, errors = told.result()
        progress.at(len(kept))
    finally:
        await stop_async(process)
    if process.returncode:
        raise ServiceError(
            f"no ends of a good policy's episodes for {env}: python {' '.join(argv)} failed with "
            f"{errors.decode(errors='replace').strip()[-400:]}. Without them: nightlab verifier evaluate {env} --terminal 0"
        )
    return kept, int(json.loads(out)["failed"])


def _is_ours(env: str) -> bool:
    return (PROJECT / "benchmarks" / "reference" / env / "policy.py").is_file()
