"""Shards as plain lerobot sees them. The import of lerobot alone takes ten seconds, so all of it is in this file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from data.episodes import pack
from data.lab import Lab
from data.recorder import Recorder
from data.spool import Spool
from data.testing import picture, scripted_arrays, scripted_lab, scripted_record
from nightlab.records import Outcome

os.environ["HF_HUB_OFFLINE"] = "1"


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    os.environ["HF_HOME"] = str(tmp_path_factory.mktemp("hf"))
    lab = scripted_lab(tmp_path_factory.mktemp("shards") / "lab")
    for seed, steps, outcome in (
        (1, 20, Outcome.SUCCESS),
        (2_000_000_002, 31, Outcome.FAILURE),
        (3, 25, Outcome.FAILURE),
    ):
        record = scripted_record(seed, steps=steps, outcome=outcome)
        Spool(lab.spool_dir).put(record, pack(record, scripted_arrays(steps)))
    Recorder(lab).record([{"campaign": "C1", "iteration": "I1", "through": 1, "candidate": "I1"}])
    return lab


def load(root: Path) -> Any:
    from lerobot.datasets import LeRobotDataset

    return LeRobotDataset("nightlab/shard", root=root)


def test_plain_lerobot_opens_a_shard(lab: Lab) -> None:
    dataset = load(lab.rollouts_dir / "I1/robot-1")
    assert (len(dataset), dataset.num_episodes, dataset.fps) == (76, 3, 10)
    item = dataset[25]
    assert item["seed"].item() == 2_000_000_002
    assert item["observation.state"].tolist() == [5.0, 3.0]
    assert tuple(item["observation.environment_state"].shape) == (16,)
    assert item["outcome"] == "failure"
    assert item["task"] == "push the T onto its goal"
    assert item["timestamp"].item() == pytest.approx(0.5)
    assert item["station_ns"].item() == pytest.approx(1_800_000_000_500_000_000, abs=300)


def test_the_video_shard_decodes_to_the_pictures_that_were_filmed(lab: Lab) -> None:
    dataset = load(lab.rollouts_dir / "I1/robot-1-video")
    assert (dataset.num_episodes, dataset.fps) == (3, 5)
    lengths = [10, 15, 12]
    assert len(dataset) == sum(lengths)
    first = 0
    for length in lengths:
        for number in (0, length // 2, length - 1):
            shown = dataset[first + number]["observation.images.top"].numpy()
            step = int(dataset[first + number]["observation.state"][0])
            wanted = picture(step, 256).transpose(2, 0, 1) / 255.0
            assert shown.shape == (3, 256, 256)
            assert np.abs(shown - wanted).mean() < 0.02
        first += length


def test_it_goes_through_lerobots_batches_and_aggregation(lab: Lab, tmp_path: Path) -> None:
    from lerobot.datasets.aggregate import aggregate_datasets
    from torch.utils.data import DataLoader

    root = lab.rollouts_dir / "I1/robot-1"
    batch = next(iter(DataLoader(load(root), batch_size=16)))
    assert tuple(batch["action"].shape) == (16, 2)
    aggregate_datasets(["a/a", "a/b"], "a/all", roots=[root, root], aggr_root=tmp_path / "all")
    assert load(tmp_path / "all").num_episodes == 6


def test_files_have_the_schema_of_lerobots_own_writer(lab: Lab, tmp_path: Path) -> None:
    """Same columns, types and metadata keys; so whatever reads lerobot's files reads ours."""
    from lerobot.datasets import LeRobotDataset

    ours = lab.rollouts_dir / "I1/robot-1"
    own = load(ours)
    index = {"timestamp", "frame_index", "episode_index", "index", "task_index"}
    features = {key: value for key, value in own.meta.features.items() if key not in index}
    theirs = LeRobotDataset.create("a/b", fps=10, features=features, root=tmp_path / "theirs", robot_type="push_t")
    for row in pq.read_table(ours / "data/chunk-000/file-000.parquet").to_pylist()[:20]:
        frame = {
            key: row[key] if feature["dtype"] == "string" else np.atleast_1d(row[key]).astype(feature["dtype"])
            for key, feature in features.items()
        }
        theirs.add_frame({**frame, "task": "push the T onto its goal"})
    theirs.save_episode()
    theirs.finalize()
    for name in ("data/chunk-000/file-000.parquet", "meta/episodes/chunk-000/file-000.parquet", "meta/tasks.parquet"):
        mine, reference = pq.read_schema(ours / name), pq.read_schema(tmp_path / "theirs" / name)
        assert {field.name: field.type for field in mine} == {field.name: field.type for field in reference}, name
    mine = pq.read_table(ours / "meta/episodes/chunk-000/file-000.parquet").to_pylist()[0]
    reference = pq.read_table(tmp_path / "theirs/meta/episodes/chunk-000/file-000.parquet").to_pylist()[0]
    for key in ("min", "max", "mean", "std", "count"):
        name = f"stats/observation.environment_state/{key}"
        assert mine[name] == pytest.approx(reference[name], rel=1e-3, abs=1e-2)
