"""Ends of a good policy's episodes, as cases for `nightlab verifier evaluate`.

    python -m benchmarks.terminal_states push_t --n 200 --profile nominal --out DIR

Runs the reference policy in this process, without sandbox and pacing, by the environment's own reset, step and live check,
and writes the evidence of each end with what the ground truth says of it (DIR/00000.case, …). What DIR holds already is
not played again.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from environments import make, world
from environments.exam import TruthStation, close
from environments.workbench.kept_cases import KeptCases
from nightlab.contracts import Policy
from nightlab.errors import StationError
from robots.profiles import load_profile
from robots.worlds import make_world

STATIONS = 5
"""Simulated stations that the episodes are dealt to."""
MOST_FAILED = 3
"""Resets in a row that may fail for one episode."""
AGAIN = 100_000_000
"""Added to the seed of an episode whose reset failed."""


async def play(station: TruthStation, environment: str, policy: Policy, seed: int) -> Any:
    """One episode by the environment's rules; the case of its end."""
    judged = make(environment)
    lease = await station.lease("terminal", judged.limits)
    try:
        report = await judged.reset(station, lease, seed, admin=station)
        if not report.success:
            raise StationError(f"reset to the start of seed {seed} failed: {report.reason}")
        policy.reset(await station.describe(), seed)
        async with station.control(lease, "terminal") as session:
            observation, over = await session.hold(), False
            while not over:
                chunk = policy.act(observation.values)
                if chunk is None:
                    break
                for action in chunk:
                    result = await judged.step(session, action)
                    observation, over = result.observation, result.terminated or result.truncated
                    if over:
                        break
        return await close(station, environment, judged, lease, "terminal")
    finally:
        await lease.release()


async def run(environment: str, n: int, profile: str, seed: int, out: Path) -> dict[str, Any]:
    """Play until `out` holds the ends of `n` episodes; returns what was played and how many resets failed.

    A reset that gives up ends no episode: its seed is left out, as the fleet leaves it out, and its station is laid anew.
    Raises StationError if that happens more often than MOST_FAILED allows.
    """
    chosen = load_profile(profile, world(environment))
    kept, stations = KeptCases(out, "terminal"), dict[int, TruthStation]()
    out.mkdir(parents=True, exist_ok=True)
    policy = reference_policy(environment)
    failed, begin_s, missing = 0, time.perf_counter(), kept.missing(n)
    for number in missing:
        for again in range(MOST_FAILED + 1):
            at = number % STATIONS
            if at not in stations:
                stations[at] = TruthStation(make_world(world(environment), chosen, seed + at))
            try:
                case = await play(stations[at], environment, policy, 1_000_000 + 1000 * seed + number + again * AGAIN)
                break
            except StationError as error:
                failed += 1
                print(f"nightlab: {environment}: {error}", file=sys.stderr, flush=True)
                del stations[at]
        else:
            raise StationError(f"{environment}: {MOST_FAILED + 1} resets in a row failed. Try: nightlab reset-check")
        kept.save(number, case)
    return {"n": n, "played": len(missing), "failed": failed, "wall_s": round(time.perf_counter() - begin_s, 1)}


def reference_policy(environment: str) -> Policy:
    """The reference policy with its own knobs."""
    module = importlib.import_module(f"benchmarks.reference.{environment}.policy")
    knobs = Path(str(module.__file__)).with_name("params.yaml")
    with tempfile.TemporaryDirectory() as checkpoint:
        Path(checkpoint, "params.yaml").write_text(knobs.read_text() if knobs.is_file() else "{}")
        policy: Policy = module.make_policy(Path(checkpoint))
    return policy


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("environment")
    parser.add_argument("--n", type=int, default=200)
    parser.add_argument("--profile", default="nominal")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    print(json.dumps(asyncio.run(run(options.environment, options.n, options.profile, options.seed, options.out))))


if __name__ == "__main__":
    main()
