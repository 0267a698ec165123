"""Ends of a good policy's episodes, as cases for `nightlab verifier evaluate`.

    python -m benchmarks.terminal_states push_t --n 200 --profile nominal --out DIR

Runs the reference policy in this process, without sandbox and pacing, by the environment's own step and live check, and
writes the evidence of each end with what the ground truth says of it (DIR/0.case, …).
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import json
import tempfile
import time
from pathlib import Path
from typing import Any

from environments import make, world
from environments.exam import TruthStation, close, save
from nightlab.contracts import Policy
from nightlab.errors import StationError
from robots.profiles import load_profile
from robots.worlds import make_world

STATIONS = 5
"""Simulated stations that the episodes are dealt to."""


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
    """Play `n` episodes and write their ends; returns what they came to."""
    chosen = load_profile(profile, world(environment))
    stations = [TruthStation(make_world(world(environment), chosen, seed + number)) for number in range(STATIONS)]
    reference = importlib.import_module(f"benchmarks.reference.{environment}.policy")
    knobs = Path(str(reference.__file__)).with_name("params.yaml")
    out.mkdir(parents=True, exist_ok=True)
    good, begin_s = 0, time.perf_counter()
    with tempfile.TemporaryDirectory() as checkpoint:
        Path(checkpoint, "params.yaml").write_text(knobs.read_text() if knobs.is_file() else "{}")
        policy = reference.make_policy(Path(checkpoint))
    for number in range(n):
        case = await play(stations[number % STATIONS], environment, policy, 1_000_000 + 1000 * seed + number)
        save(case, out / f"{number:05d}.case")
        good += case.success
    return {"n": n, "successes": good, "wall_s": round(time.perf_counter() - begin_s, 1)}


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
