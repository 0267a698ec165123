"""kill -9 of each process class in the middle of a rollout: the campaign goes on, nothing is lost, nothing counted twice."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from data.ledger import LedgerReader
from nightlab.records import EpisodeRecord, SeedPool
from tests.flows.conftest import IDEAS, PROJECT, nightlab

pytestmark = pytest.mark.slow


def _process(lab: Path, name: str) -> int:
    return int(json.loads((lab / "run" / "state.json").read_text())["processes"][name]["pid"])


def _station_flow(lab: Path) -> int:
    """The process of a station's flow: the parent of a trial process of this lab."""
    for process in psutil.process_iter(["cmdline"]):
        line = process.info["cmdline"] or []
        if "tasks.trial" in line and str(lab) in line[-1]:
            return int(process.ppid())
    raise LookupError("no trial is running")


VICTIMS: dict[str, Callable[[Path], int]] = {
    "station flow": _station_flow,
    "station server": lambda lab: _process(lab, "robot-1"),
    "keeper": lambda lab: _process(lab, "keeper"),
    "fleet": lambda lab: _process(lab, "fleet"),
}


@pytest.mark.timeout(900)
@pytest.mark.parametrize("victim", VICTIMS)
def test_campaign_survives_the_death_of(victim: str, tmp_path: Path) -> None:
    lab = tmp_path / "lab"
    arguments = [
        "run", "push_t", "--stations", "2", "--researcher", f"scripted:{IDEAS}", "--budget", "150s", "--held-out", "10",
        "--lab", str(lab), "--seed", "5", "--json",
    ]  # fmt: skip
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    with (tmp_path / "run.log").open("w") as log:
        run = subprocess.Popen(
            [sys.executable, "-m", "commands.main", *arguments], cwd=PROJECT, env=environment, stdout=log, stderr=log
        )
    before = _wait_for_episodes(lab, run, 4)
    os.kill(VICTIMS[victim](lab), signal.SIGKILL)
    code = run.wait(500)
    if code:
        nightlab(*arguments, timeout_s=300)
    text = (tmp_path / "run.log").read_text()
    records = [EpisodeRecord.model_validate(event.data) for event in _events(lab, "episode")]
    names = [record.key.text() for record in records]
    assert len(names) == len(set(names)), f"counted twice: {text[-2000:]}"
    assert before <= set(names), f"finished episodes were lost: {before - set(names)}"
    assert _events(lab, "campaign_ended"), text[-3000:]
    baseline = {
        r.key.seed
        for r in records
        if r.key.idea == "I0" and r.key.pool is SeedPool.SEARCH and r.verdict.outcome != "unscored"
    }
    assert len(baseline) >= 20, f"the baseline was not completed: {len(baseline)}\n{text[-3000:]}"
    from lerobot.datasets import LeRobotDataset

    shards = sorted(info.parent.parent for info in (lab / "rollouts").glob("*/*/meta/info.json"))
    assert shards
    for shard in shards:
        assert len(LeRobotDataset(f"nightlab/{shard.name}", root=shard)) > 0
    assert (
        subprocess.run(["git", "status", "--porcelain"], cwd=lab, capture_output=True, text=True, check=True).stdout
        == ""
    )


def _events(lab: Path, kind: str) -> list[object]:
    return list(LedgerReader(lab / "ledger.db").events(kind=kind))  # type: ignore[arg-type]


def _wait_for_episodes(lab: Path, run: subprocess.Popen[bytes], count: int) -> set[str]:
    deadline_s = time.monotonic() + 120
    while time.monotonic() < deadline_s:
        assert run.poll() is None, "the run ended before anything was killed"
        if (lab / "ledger.db").exists():
            names = {EpisodeRecord.model_validate(event.data).key.text() for event in _events(lab, "episode")}  # type: ignore[attr-defined]
            if len(names) >= count:
                return names
        time.sleep(0.3)
    raise AssertionError(f"no {count} episodes within 120 s")
