"""Success rates of the reference policies in `benchmarks/reference`, with their 95 % Wilson intervals.

By default through the whole house: served stations, safety filter, reset, sandboxed policy and verifier, as
`nightlab evaluate` does it. `--in-process` plays the ladder's rules instead: same physics and policy, ground truth as
the judge, no pacing, so that a busy machine cannot make an action late.

    python -m benchmarks.reference_policies pin_insertion --n 200 --json
    python -m benchmarks.reference_policies push_t --n 200 --in-process --json

Printed: n, successes, success, wilson_low, wilson_high, unscored, failures, steps_median; where forces count
peak_force_max_N, the largest of all episodes. Served runs add late_share (of all actions), cpu_s_per_station_s (CPU of
stations, policies, verifier and trials for one second of one station, from reset to evidence: what speeds a machine
carries) and, where a reset takes time, reset_mean_s and reset_attempts_most.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import json
import resource
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from commands.evaluate import evaluate_policy, summary
from data.statistics import wilson
from nightlab.errors import NightlabError
from nightlab.records import CampaignSpec, EpisodeRecord
from policies.library.recipe import read_params

REFERENCE: Final = Path(__file__).with_name("reference")
FIRST_SEED: Final = 7_000_000
"""Seeds of these measurements begin here: no lab draws them, and no module was tuned on them."""
PEAK_FORCE: Final = "peak_force"
"""Predicate of a verdict that holds the largest force of an episode, N."""


def served(environment: str, n: int, profile: str, speed: float, stations: int, station_seed: int) -> dict[str, Any]:
    """`n` episodes through stations, sandbox and verifier."""
    spec = CampaignSpec(environment=environment, profile=profile, stations=stations, speed=speed)
    told, before_s = _progress(n), _cpu_s()
    with tempfile.TemporaryDirectory(prefix="nightlab-reference-") as room:
        code, checkpoint = Path(room, "code"), Path(room, "checkpoint")
        code.mkdir()
        checkpoint.mkdir()
        shutil.copyfile(REFERENCE / environment / "policy.py", code / "policy.py")
        _knobs(environment, checkpoint)
        (checkpoint / "config.json").write_text('{"learned": false}\n')
        seeds = tuple(range(FIRST_SEED, FIRST_SEED + n))
        records = asyncio.run(
            evaluate_policy(
                spec, code, checkpoint, seeds, idea="reference", station_seed=station_seed,
                on_episode=lambda line: told(str(line["outcome"])),
            )
        )  # fmt: skip
    station_s = sum(record.rollout_end.station_s - record.reset_begin.station_s for record in records)
    return {**summary(records), **figures(records), "cpu_s_per_station_s": round((_cpu_s() - before_s) / station_s, 4)}


def _cpu_s() -> float:
    """CPU seconds of this process and of all children that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def figures(records: Sequence[EpisodeRecord]) -> dict[str, Any]:
    """Steps, forces, late actions and resets of served episodes."""
    steps = sorted(record.steps for record in records)
    found: dict[str, Any] = {
        "steps_median": steps[len(steps) // 2],
        "late_share": sum(record.late for record in records) / max(1, sum(steps)),
    }
    forces = [
        p.value for record in records for p in record.verdict.predicates if p.name == PEAK_FORCE and p.value is not None
    ]
    if forces:
        found["peak_force_max_N"] = round(max(forces), 2)
    resets_s = [record.reset.duration_s for record in records]
    if max(resets_s) > 0:
        found["reset_mean_s"] = round(sum(resets_s) / len(resets_s), 2)
        found["reset_attempts_most"] = max(record.reset.attempts for record in records)
    return found


def in_process(environment: str, n: int, profile: str, stations: int, station_seed: int) -> dict[str, Any]:
    """`n` episodes by the rules of the environment's ladder, dealt to the stations in turn."""
    ladder = importlib.import_module(f"benchmarks.{environment}_ladder")
    reference = importlib.import_module(f"benchmarks.reference.{environment}.policy")
    modules = {slot: module.__name__.rpartition(".")[2] for slot, module in reference.MODULES.items()}
    with tempfile.TemporaryDirectory() as checkpoint:
        _knobs(environment, Path(checkpoint))
        params = read_params(Path(checkpoint))
    told, episodes = _progress(n), []
    benches = range(station_seed, station_seed + stations)
    for first in range(0, n, BLOCK):
        seeds = range(FIRST_SEED + first, FIRST_SEED + min(first + BLOCK, n))
        for episode in ladder.run_many(modules, params, seeds, profile, benches):
            told("success" if episode.success else getattr(episode, "word", "failure"))
            episodes.append(episode)
    successes = sum(episode.success for episode in episodes)
    low, high = wilson(successes, n)
    found: dict[str, Any] = {"n": n, "successes": successes, "wilson_low": low, "wilson_high": high, "unscored": 0}
    found["failures"] = dict(Counter(episode.word for episode in episodes if getattr(episode, "word", "")))
    found["steps_median"] = sorted(episode.steps for episode in episodes)[n // 2]
    if hasattr(episodes[0], "peak_N"):
        found["peak_force_max_N"] = round(max(episode.peak_N for episode in episodes), 2)
    return found


BLOCK: Final = 20
"""Episodes between two words of progress in process; a multiple of any sensible number of stations."""


def _progress(n: int) -> Callable[[str], None]:
    """Counts episodes on standard error, one line in place where that is a terminal, else every twentieth."""
    counts: Counter[str] = Counter()

    def tell(outcome: str) -> None:
        counts[outcome] += 1
        done = counts.total()
        line = f"{done} of {n}: {', '.join(f'{count} {word}' for word, count in counts.most_common(4))}"
        if sys.stderr.isatty():
            print(f"\r{line}", end="" if done < n else "\n", file=sys.stderr, flush=True)
        elif done % BLOCK == 0 or done == n:
            print(line, file=sys.stderr, flush=True)

    return tell


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
    parser.add_argument("--speed", type=float, default=6.0)
    parser.add_argument("--stations", type=int, default=2)
    parser.add_argument("--station-seed", type=int, default=300)
    parser.add_argument("--in-process", action="store_true")
    parser.add_argument("--json", action="store_true", dest="as_json")
    asked = parser.parse_args()
    if asked.n < 1 or asked.stations < 1:
        parser.error("--n and --stations need at least 1")
    begin_s = time.perf_counter()
    try:
        if asked.in_process:
            told = in_process(asked.environment, asked.n, asked.profile, asked.stations, asked.station_seed)
        else:
            told = served(asked.environment, asked.n, asked.profile, asked.speed, asked.stations, asked.station_seed)
    except NightlabError as error:
        parser.exit(1, f"{error}\nA busy machine makes actions late; try a lower --speed, or --in-process\n")
    told = {
        "environment": asked.environment, "profile": asked.profile, **told,
        "success": told["successes"] / max(told["n"], 1), "in_process": asked.in_process,
        "wall_s": round(time.perf_counter() - begin_s, 1),
    }  # fmt: skip
    if asked.as_json:
        print(json.dumps(told))
        return
    forces = f", no force above {told['peak_force_max_N']:.1f} N" if "peak_force_max_N" in told else ""
    print(
        f"{asked.environment} on {asked.profile}: {told['successes']} of {told['n']} succeed ({100 * told['success']:.1f} %), "
        f"95 % Wilson {told['wilson_low']:.3f} to {told['wilson_high']:.3f}, {told['unscored']} unscored{forces}"
    )


if __name__ == "__main__":
    main()
