"""Success rates of the reference policies in `benchmarks/reference`, with their 95 % Wilson intervals.

By default through the whole house: served stations, safety filter, reset, sandboxed policy and verifier, as
`nightlab evaluate` does it. `--in-process` plays the ladder's rules instead: same physics and policy, ground truth as
the judge, no pacing.

    python -m benchmarks.reference_policies pin_insertion --n 200 --json
    python -m benchmarks.reference_policies push_t --n 200 --in-process --json
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import json
import shutil
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any, Final

from commands.evaluate import evaluate_policy, summary
from data.statistics import wilson
from nightlab.records import CampaignSpec

REFERENCE: Final = Path(__file__).with_name("reference")
FIRST_SEED: Final = 7_000_000
"""Seeds of these measurements begin here: no lab draws them, and no module was tuned on them."""


def served(environment: str, n: int, profile: str, speed: float, stations: int, station_seed: int) -> dict[str, Any]:
    """`n` episodes through stations, sandbox and verifier."""
    spec = CampaignSpec(environment=environment, profile=profile, stations=stations, speed=speed)
    with tempfile.TemporaryDirectory(prefix="nightlab-reference-") as room:
        code, checkpoint = Path(room, "code"), Path(room, "checkpoint")
        code.mkdir()
        checkpoint.mkdir()
        shutil.copyfile(REFERENCE / environment / "policy.py", code / "policy.py")
        _knobs(environment, checkpoint)
        (checkpoint / "config.json").write_text('{"learned": false}\n')
        seeds = tuple(range(FIRST_SEED, FIRST_SEED + n))
        records = asyncio.run(
            evaluate_policy(spec, code, checkpoint, seeds, idea="reference", station_seed=station_seed)
        )
    steps = sorted(record.steps for record in records)
    return {**summary(records), "steps_median": steps[len(steps) // 2]}


def in_process(environment: str, n: int, profile: str, stations: int, station_seed: int) -> dict[str, Any]:
    """`n` episodes by the rules of the environment's ladder."""
    ladder = importlib.import_module(f"benchmarks.{environment}_ladder")
    reference = importlib.import_module(f"benchmarks.reference.{environment}.policy")
    modules = {slot: module.__name__.rpartition(".")[2] for slot, module in reference.MODULES.items()}
    with tempfile.TemporaryDirectory() as checkpoint:
        _knobs(environment, Path(checkpoint))
        from policies.library.recipe import read_params

        params = read_params(Path(checkpoint))
    seeds = range(FIRST_SEED, FIRST_SEED + n)
    episodes = ladder.run_many(modules, params, seeds, profile, range(station_seed, station_seed + stations))
    successes = sum(episode.success for episode in episodes)
    low, high = wilson(successes, n)
    told: dict[str, Any] = {"n": n, "successes": successes, "wilson_low": low, "wilson_high": high, "unscored": 0}
    told["failures"] = dict(Counter(episode.word for episode in episodes if getattr(episode, "word", "")))
    told["steps_median"] = sorted(episode.steps for episode in episodes)[n // 2]
    if hasattr(episodes[0], "peak_N"):
        told["peak_max_N"] = max(episode.peak_N for episode in episodes)
    return told


def _knobs(environment: str, checkpoint: Path) -> None:
    own = REFERENCE / environment / "params.yaml"
    (checkpoint / "params.yaml").write_text(own.read_text() if own.is_file() else "{}\n")


def main() -> None:
    """Command line."""
    known = sorted(path.parent.name for path in REFERENCE.glob("*/policy.py"))
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("environment", choices=known)
    parser.add_argument("--n", type=int, default=200)
    parser.add_argument("--profile", default="nominal")
    parser.add_argument("--speed", type=float, default=8.0)
    parser.add_argument("--stations", type=int, default=2)
    parser.add_argument("--station-seed", type=int, default=300)
    parser.add_argument("--in-process", action="store_true")
    parser.add_argument("--json", action="store_true", dest="as_json")
    asked = parser.parse_args()
    begin_s = time.perf_counter()
    if asked.in_process:
        told = in_process(asked.environment, asked.n, asked.profile, asked.stations, asked.station_seed)
    else:
        told = served(asked.environment, asked.n, asked.profile, asked.speed, asked.stations, asked.station_seed)
    told = {
        "environment": asked.environment, "profile": asked.profile, **told,
        "success": told["successes"] / max(told["n"], 1), "in_process": asked.in_process,
        "wall_s": round(time.perf_counter() - begin_s, 1),
    }  # fmt: skip
    if asked.as_json:
        print(json.dumps(told))
        return
    print(
        f"{asked.environment} on {asked.profile}: {told['successes']} of {told['n']} succeed ({100 * told['success']:.1f} %), "
        f"95 % Wilson {told['wilson_low']:.3f} to {told['wilson_high']:.3f}, {told['unscored']} unscored"
    )


if __name__ == "__main__":
    main()
