from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import time
from pathlib import Path

import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest

from data.episodes import EpisodeBuffer, pack, read_evidence
from data.git_reader import log
from data.keeper_client import KeeperClient
from data.lab import Lab
from data.layouts import keypoints
from data.recorder import Recorder
from data.spool import Spool
from data.testing import picture, running, scripted_arrays, scripted_lab, scripted_record
from nightlab.geometry import t_rectangles
from nightlab.records import CampaignSpec, EpisodeKey, Event, IterationStatus, Outcome, SeedPool


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return scripted_lab(tmp_path / "lab")


def job(iteration: str = "I1") -> dict[str, object]:
    return {"campaign": "C1", "iteration": iteration, "through": 1, "candidate": iteration}


def spool(lab: Lab, *seeds: int, steps: int = 20, **fields: object) -> list[EpisodeKey]:
    records = [scripted_record(seed, steps=steps, **fields) for seed in seeds]  # type: ignore[arg-type]
    for record in records:
        Spool(lab.spool_dir).put(record, pack(record, scripted_arrays(steps)))
    return [record.key for record in records]


def git_status(lab: Lab) -> str:
    command = ["git", "-C", str(lab.path), "status", "-s"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_keypoints_are_the_corners_in_gym_pushts_order() -> None:
    pose = (210.0, 190.0, 0.7)
    bar, stem = t_rectangles(pose)
    np.testing.assert_allclose(keypoints(np.array([pose])).reshape(8, 2), [*bar, *stem])


def test_a_shard_holds_every_row_of_every_episode(lab: Lab) -> None:
    spool(lab, 1, 2)
    result = Recorder(lab).record([job()])[0]
    assert (result["roots"], result["frames"], result["episodes"]) == (["rollouts/I1/robot-1"], 40, 2)
    assert result["dvc"] == ["rollouts/I1.dvc"]
    table = pq.read_table(lab.rollouts_dir / "I1/robot-1/data/chunk-000/file-000.parquet").to_pydict()
    assert table["seed"] == [1] * 20 + [2] * 20
    assert table["observation.state"][5] == [5.0, 3.0]
    assert table["observation.block_pose"][5] == pytest.approx([205.0, 250.0, 0.25])
    assert len(table["observation.environment_state"][5]) == 16
    assert (table["action"][5], table["action_requested"][5]) == ([11.0, 5.0], [10.0, 5.0])
    assert [index for index, late in enumerate(table["late"]) if late] == [2, 22]
    assert table["outcome"][0] == "success"
    assert table["next.done"][19] is True
    assert table["wall_ns"][1] - table["wall_ns"][0] == pytest.approx(10_000_000, abs=500)
    assert table["station_ns"][1] - table["station_ns"][0] == pytest.approx(100_000_000, abs=500)
    info = json.loads((lab.rollouts_dir / "I1/robot-1/meta/info.json").read_text())
    assert (info["fps"], info["total_episodes"], info["total_frames"]) == (10, 2, 40)


def test_judged_frames_stay_lossless_and_can_be_judged_again(lab: Lab) -> None:
    key = spool(lab, 1)[0]
    before = read_evidence(lab, key)
    Recorder(lab).record([job()])
    Spool(lab.spool_dir).remove([key.text()])
    after = read_evidence(lab, key)
    frames = after.frames_png
    assert frames == before.frames_png
    assert [{k: v.tolist() for k, v in row.items()} for row in after.observations] == [
        {k: v.tolist() for k, v in row.items()} for row in before.observations
    ]
    assert (after.cameras, after.seqs, after.depths_png) == (before.cameras, before.seqs, before.depths_png)
    shown = cv2.imdecode(np.frombuffer(frames[0], np.uint8), cv2.IMREAD_COLOR)[:, :, ::-1]
    np.testing.assert_array_equal(shown, picture(20))


def test_the_first_success_and_three_unlike_failures_are_filmed(lab: Lab) -> None:
    spool(lab, 1, 2, outcome=Outcome.SUCCESS)
    spool(lab, *range(10, 15), outcome=Outcome.FAILURE, reason="missed_goal")
    spool(lab, 20, outcome=Outcome.FAILURE, reason="never_moved")
    spool(lab, 30, outcome=Outcome.UNSCORED, reason="black frame")
    spool(lab, 40, idea="I0", outcome=Outcome.SUCCESS)
    result = Recorder(lab).record([job()])[0]
    assert result["videos"] == ["rollouts/I1/robot-1-video"]
    lines = (lab.rollouts_dir / "I1/robot-1-video/episodes.jsonl").read_text().splitlines()
    seen = [json.loads(line) for line in lines]
    assert [episode["verdict"]["outcome"] for episode in seen] == ["success", "failure", "failure", "failure"]
    assert {episode["verdict"]["reason"] for episode in seen[1:]} == {"missed_goal", "never_moved"}
    assert seen[0]["key"]["seed"] == 1


def test_an_episode_without_a_step_has_evidence_and_no_dataset(lab: Lab) -> None:
    record = scripted_record(1, steps=0, outcome=Outcome.FAILURE, reason="policy_fault")
    Spool(lab.spool_dir).put(record, pack(record, EpisodeBuffer().arrays()))
    result = Recorder(lab).record([job()])[0]
    assert (result["roots"], result["frames"], result["episodes"]) == ([], 0, 1)
    assert (lab.rollouts_dir / "I1/robot-1-still/episodes.jsonl").exists()


def test_stations_and_late_episodes_get_shards_of_their_own(lab: Lab) -> None:
    spool(lab, 1)
    spool(lab, 2, station="robot-2")
    recorder = Recorder(lab)
    assert recorder.record([job()])[0]["episodes"] == 2
    assert recorder.record([job()])[0]["episodes"] == 0
    spool(lab, 3)
    again = recorder.record([job()])[0]
    assert again["roots"] == ["rollouts/I1/robot-1", "rollouts/I1/robot-1.2", "rollouts/I1/robot-2"]
    assert (again["episodes"], recorder.versions.status()) == (1, {})


def test_a_file_that_rotted_in_the_spool_does_not_stop_the_shard(lab: Lab) -> None:
    keys = spool(lab, 1, 2)
    path = Spool(lab.spool_dir).path(keys[0].text())
    path.write_bytes(path.read_bytes()[:-5])
    assert Recorder(lab).record([job()])[0]["episodes"] == 1
    assert [p.name for p in (lab.spool_dir / "torn").iterdir()] == [path.name]


async def _campaign(lab: Lab, iterations: int, episodes: int) -> None:
    """Put ended iterations with episodes into the lab."""
    arrays = scripted_arrays(20)
    async with KeeperClient(lab.keeper_socket) as keeper:
        await keeper.start_campaign(CampaignSpec())
        for number in range(1, iterations + 1):
            for seed in range(episodes):
                record = scripted_record(seed, iteration=f"E{number}", idea="I0", pool=SeedPool.SEARCH, steps=20)
                await keeper.put_episode(record, arrays)
            await keeper.end_iteration("C1", f"E{number}", IterationStatus.EVALUATED, station="robot-1")


async def _flush(lab: Lab) -> None:
    async with KeeperClient(lab.keeper_socket) as keeper:
        await keeper.flush(60.0)


def _datasets(lab: Lab) -> int:
    """Frames of all shards; every one there must be whole."""
    frames = 0
    for info in lab.rollouts_dir.glob("E*/*/meta/info.json"):
        if not info.parents[1].name.endswith("-video"):
            data = pq.read_table(info.parents[1] / "data/chunk-000/file-000.parquet")
            assert data.num_rows == json.loads(info.read_text())["total_frames"]
            frames += data.num_rows
    return frames


def test_a_flushed_lab_is_clean_and_its_log_reads_as_a_story(lab: Lab) -> None:
    with running("data.keeper", lab.path), running("data.recorder", lab.path):
        asyncio.run(_campaign(lab, 3, 4))
        asyncio.run(_flush(lab))
        assert git_status(lab) == ""
        assert not list(lab.spool_dir.glob("*.episode"))
    assert _datasets(lab) == 3 * 4 * 20
    subjects = log(lab.path)
    assert subjects[:3] == [f"E{n} measured: I0 search 4/4" for n in (3, 2, 1)]
    record = json.loads((lab.records_dir / "E2.json").read_text())
    assert record["counts"]["I0 search"]["successes"] == 4
    assert record["shards"][0]["roots"] == ["rollouts/E2/robot-1"]


def test_a_recorder_killed_while_building_leaves_whole_shards_and_goes_on(lab: Lab) -> None:
    with running("data.keeper", lab.path):
        asyncio.run(_campaign(lab, 6, 8))
        for delay_s in (0.25, 0.45, 0.6, 0.75):
            with running("data.recorder", lab.path) as recorder:
                time.sleep(delay_s)
                recorder.send_signal(signal.SIGKILL)
                recorder.wait()
            _datasets(lab)
        with running("data.recorder", lab.path):
            asyncio.run(_flush(lab))
    assert _datasets(lab) == 6 * 8 * 20
    assert git_status(lab) == ""
    assert not list((lab.rollouts_dir / ".build").glob("*/*"))


def test_a_keeper_killed_while_committing_goes_on(lab: Lab) -> None:
    with running("data.recorder", lab.path, ready_s=20.0):
        with running("data.keeper", lab.path):
            asyncio.run(_campaign(lab, 6, 3))
        for delay_s in (0.05, 0.15, 0.3):
            with running("data.keeper", lab.path) as keeper:
                time.sleep(delay_s)
                keeper.send_signal(signal.SIGKILL)
                keeper.wait()
        with running("data.keeper", lab.path):
            asyncio.run(_flush(lab))
            assert git_status(lab) == ""
    assert sorted(path.name for path in lab.records_dir.iterdir()) == [f"E{n}.json" for n in range(1, 7)]
    assert sorted(log(lab.path))[-6:] == sorted(f"E{n} measured: I0 search 3/3" for n in range(1, 7))


def test_what_a_campaign_left_open_is_archived_at_its_end(lab: Lab) -> None:
    async def calls() -> None:
        async with KeeperClient(lab.keeper_socket) as keeper:
            await keeper.start_campaign(CampaignSpec())
            await keeper.put_episode(scripted_record(1, iteration="E1", idea="I0", steps=20), scripted_arrays(20))
            await keeper.append(
                Event(event_id="end", kind="campaign_ended", campaign="C1", wall_s=time.time(), data={"reason": "x"})
            )
            await keeper.flush(60.0)

    with running("data.keeper", lab.path), running("data.recorder", lab.path):
        asyncio.run(calls())
    assert _datasets(lab) == 20
    assert log(lab.path)[0] == "E1 STOPPED: never ended"


def test_sigterm_ends_an_idle_recorder_at_once(lab: Lab) -> None:
    with running("data.keeper", lab.path), running("data.recorder", lab.path) as recorder:
        time.sleep(0.3)
        begin_s = time.monotonic()
        recorder.send_signal(signal.SIGTERM)
        recorder.wait(5)
        assert time.monotonic() - begin_s < 2.0
