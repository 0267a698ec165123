"""A whole campaign through the real processes, looked at from all sides. One campaign serves all tests of this folder."""

import json
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from nightlab.records import EpisodeRecord, Outcome
from tests.flows.conftest import Finished, nightlab

STAGES = {"literature", "propose", "train", "deploy", "rollout", "verify", "summarize"}


def test_report_has_every_figure(finished: Finished) -> None:
    for key in (
        "campaign", "environment", "profile", "stations", "speed", "wall_s", "station_s", "episodes", "iterations", "kept",
        "reverted", "inconclusive", "unscored", "mru", "mru_rollout", "useful_share", "tokens", "solved",
    ):  # fmt: skip
        assert key in finished.report, f"report --json lacks {key}"
    for key in ("n", "successes", "wilson_low", "wilson_high"):
        assert {key} <= finished.report["baseline"].keys() & finished.report["best"].keys() & finished.report[
            "held_out"
        ].keys()
    assert finished.report["baseline"]["successes"] == 0
    assert finished.report["baseline"]["n"] >= 20
    assert finished.report["kept"] >= 1, f"the good idea was not kept: {finished.log[-3000:]}"
    assert finished.report["tokens"] == 1290


def test_later_report_says_the_same(finished: Finished) -> None:
    again = json.loads(nightlab("report", "--lab", finished.path, "--json").stdout)
    assert {k: again[k] for k in ("episodes", "kept", "baseline", "held_out")} == {
        k: finished.report[k] for k in ("episodes", "kept", "baseline", "held_out")
    }


def test_nothing_is_left_running(finished: Finished) -> None:
    left = [p for p in psutil.process_iter(["cmdline"]) if str(finished.path) in " ".join(p.info["cmdline"] or ())]
    assert not left, f"processes of the lab survive: {[p.info['cmdline'] for p in left]}"


def test_good_idea_ran_all_seven_stages(finished: Finished) -> None:
    stages = {event.data["stage"] for event in finished.events("stage_finished") if event.iteration == "I1"}
    assert stages == STAGES


@pytest.mark.parametrize(
    ("iteration", "status", "words"),
    [("I2", "rejected", "a_module_that_does_not_exist"), ("I3", "crashed", "no data to train on")],
)
def test_each_way_to_fail_has_its_verdict(finished: Finished, iteration: str, status: str, words: str) -> None:
    ends = [event for event in finished.events("iteration_ended") if event.iteration == iteration]
    assert len(ends) == 1, f"{iteration} ended {len(ends)} times"
    assert ends[0].data["status"] == status
    assert words in ends[0].data["detail"]


def test_nan_in_an_episode_is_the_policys_failure(finished: Finished) -> None:
    episodes = [EpisodeRecord.model_validate(event.data) for event in finished.events("episode")]
    mine = [record for record in episodes if record.key.idea == "I4"]
    assert len(mine) >= 10
    for record in mine:
        assert record.verdict.outcome is Outcome.FAILURE
        assert "target_xy is not finite" in record.fault


def test_no_episode_counted_twice(finished: Finished) -> None:
    names = [EpisodeRecord.model_validate(event.data).key.text() for event in finished.events("episode")]
    assert len(names) == len(set(names))


def test_lab_repositories_are_clean(finished: Finished) -> None:
    status = subprocess.run(
        ["git", "status", "--porcelain"], cwd=finished.path, capture_output=True, text=True, check=True
    )
    assert status.stdout == "", f"git status in the lab: {status.stdout}"
    dvc = subprocess.run(
        [sys.executable, "-m", "dvc", "status"], cwd=finished.path, capture_output=True, text=True, check=False
    )
    assert "up to date" in dvc.stdout, dvc.stdout + dvc.stderr


def test_history_reads_as_the_story(finished: Finished) -> None:
    log = subprocess.run(
        ["git", "log", "--all", "--format=%s%n%b"], cwd=finished.path, capture_output=True, text=True, check=True
    ).stdout
    assert "I1" in log
    assert "Hypothesis: A predicted push around the block" in log
    assert "Falsified-if: the score does not rise" in log


def test_plain_lerobot_opens_every_shard(finished: Finished) -> None:
    from lerobot.datasets import LeRobotDataset

    shards = sorted(info.parent.parent for info in (finished.path / "rollouts").glob("*/*/meta/info.json"))
    assert shards, "no shard was recorded"
    for shard in shards:
        dataset = LeRobotDataset(f"nightlab/{shard.name}", root=shard)
        item = dataset[len(dataset) - 1]
        assert "action" in item
        if dataset.meta.video_keys:
            assert item[dataset.meta.video_keys[0]].shape[0] == 3
    assert any(shard.name.endswith("-video") for shard in shards), "no episode was filmed"


def test_tree_shows_the_decisions(finished: Finished) -> None:
    text = nightlab("tree", "--lab", finished.path).stdout
    assert "I1" in text
    assert "KEEP" in text.upper()


def test_report_page_is_self_contained(finished: Finished) -> None:
    page = Path(nightlab("report", "--lab", finished.path).stdout.strip().splitlines()[-1])
    text = page.read_text()
    assert "<html" in text
    assert 'src="http' not in text
    assert "I1" in text


def test_evaluate_leaves_the_lab_as_it_was(finished: Finished) -> None:
    before = subprocess.run(
        ["git", "rev-parse", "lab"], cwd=finished.path, capture_output=True, text=True, check=True
    ).stdout
    done = nightlab(
        "evaluate",
        "best",
        "--env",
        "push_t",
        "--profile",
        "nominal",
        "--seeds",
        "0:6",
        "--lab",
        finished.path,
        "--json",
    )
    result = json.loads(done.stdout.strip().splitlines()[-1])
    assert result["n"] == 6
    assert {"successes", "unscored", "wilson_low", "wilson_high"} <= result.keys()
    after = subprocess.run(
        ["git", "rev-parse", "lab"], cwd=finished.path, capture_output=True, text=True, check=True
    ).stdout
    assert before == after
    status = subprocess.run(
        ["git", "status", "--porcelain"], cwd=finished.path, capture_output=True, text=True, check=True
    )
    assert status.stdout == ""


def test_replay_executes_later_stages_only(finished: Finished) -> None:
    done = nightlab("replay", "I1", "--from", "rollout", "--lab", finished.path, "--json")
    result = json.loads(done.stdout.strip().splitlines()[-1])
    assert result["stages"] == ["rollout", "verify", "summarize"]
    assert result["n"] >= 10
    assert result["same_verdicts"] == result["compared"] == result["n"], result
    episodes = [EpisodeRecord.model_validate(event.data) for event in finished.events("episode")]
    again = {record.policy_sha256 for record in episodes if record.key.iteration == "I1.r1"}
    first = {record.policy_sha256 for record in episodes if record.key.iteration == "I1" and record.key.idea == "I1"}
    assert again == first


def test_failed_iteration_replays_once_mended(finished: Finished, tmp_path: Path) -> None:
    for name in ("policy.py", "train.py", "params.yaml", "notes.md"):
        (tmp_path / name).write_text((Path("research/push_t") / name).read_text())
    done = nightlab("replay", "I3", "--from", "propose", "--edit", tmp_path, "--lab", finished.path, "--json")
    result = json.loads(done.stdout.strip().splitlines()[-1])
    assert result["stages"] == ["propose", "train", "deploy", "rollout", "verify", "summarize"]
    assert result["n"] >= 1
