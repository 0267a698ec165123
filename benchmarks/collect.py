"""Collect scripted Push-T episodes in simulation as a LeRobotDataset v3: first stage of dvc.yaml.

    python -m benchmarks.collect datasets/push_t_scripted

Episodes go through the same station, safety filter and verifier as a campaign's; the policy is `benchmarks/reference`.
"""

from __future__ import annotations

import asyncio
import shutil
import sys
import tempfile
from pathlib import Path

import yaml

from commands.evaluate import evaluate_policy
from data.layouts import columns, features, rate_hz
from data.shard import write_dataset
from nightlab.records import CampaignSpec
from policies.trainer import SandboxedTrainer
from tasks.trial_sink import MemorySink

REFERENCE = Path(__file__).with_name("reference")


async def collect(
    target: Path, environment: str, profile: str, seeds: tuple[int, ...], station_seed: int, stations: int
) -> int:
    """Run the reference policy on every seed and write the episodes, ordered by seed; returns how many succeeded."""
    with tempfile.TemporaryDirectory(prefix="nightlab-collect-") as room:
        code, checkpoint = Path(room) / "code", Path(room) / "checkpoint"
        shutil.copytree(REFERENCE / environment, code)
        for name in ("train.py", "params.yaml"):
            shutil.copyfile(Path("research") / environment / name, code / name)
        checkpoint.mkdir()
        await SandboxedTrainer().train(code, checkpoint, budget_s=60.0)
        spec = CampaignSpec(environment=environment, profile=profile, stations=stations, speed=10.0)
        sinks = [MemorySink() for _ in range(stations)]
        await evaluate_policy(spec, code, checkpoint, seeds, idea="reference", station_seed=station_seed, sinks=sinks)
    episodes = sorted((pair for sink in sinks for pair in sink.episodes), key=lambda pair: pair[0].key.seed)
    shutil.rmtree(target, ignore_errors=True)
    record, arrays = episodes[0]
    write_dataset(
        target,
        features(record, arrays),
        [columns(*pair) for pair in episodes],
        fps=rate_hz(record, arrays),
        robot_type=environment,
    )
    return sum(record.verdict.outcome.value == "success" for record, _ in episodes)


def main() -> None:
    """Read `params.yaml` and collect."""
    asked = yaml.safe_load(Path("params.yaml").read_text())["collect"]
    seeds = tuple(range(asked["first_seed"], asked["first_seed"] + asked["episodes"]))
    good = asyncio.run(
        collect(
            Path(sys.argv[1]), asked["environment"], asked["profile"], seeds, asked["station_seed"], asked["stations"]
        )
    )
    print(f"{len(seeds)} episodes, {good} successes")


if __name__ == "__main__":
    main()
