from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from data.episodes import (
    EpisodeArrays,
    EpisodeBuffer,
    pack,
    read_evidence,
    read_observations,
    read_record,
    unpack,
    write_atomic,
)
from data.spool import Spool
from data.testing import picture, scripted_arrays, scripted_lab, scripted_record
from nightlab.errors import LabError


def test_an_episode_comes_back_as_it_went_in() -> None:
    record, arrays = scripted_record(7), scripted_arrays(12)
    again, back = unpack(pack(record, arrays))
    assert again == record
    assert back.frames_png == arrays.frames_png
    assert (back.film_jpeg, back.film_steps) == (arrays.film_jpeg, arrays.film_steps)
    for name in ("observations", "requested", "executed", "judged"):
        ours, theirs = getattr(arrays, name), getattr(back, name)
        assert ours.keys() == theirs.keys()
        for key, rows in ours.items():
            np.testing.assert_array_equal(rows, theirs[key])
    for name in ("late", "clamped", "station_s", "wall_s"):
        np.testing.assert_array_equal(getattr(arrays, name), getattr(back, name))
        assert getattr(back, name).dtype == getattr(arrays, name).dtype


def test_rows_hold_what_was_seen_asked_and_executed() -> None:
    arrays = scripted_arrays(10)
    assert len(arrays) == 10
    assert arrays.observations["block_pose"].shape == (10, 3)
    assert arrays.observations["agent_xy"][4, 0] == 4.0
    assert arrays.requested["target_xy"][4, 0] == 8.0
    assert arrays.executed["target_xy"][4, 0] == 9.0
    assert list(np.flatnonzero(arrays.late)) == [2]
    assert list(np.flatnonzero(arrays.clamped)) == [4]
    assert arrays.film_steps == [0, 2, 4, 6, 8]
    assert arrays.station_s[1] - arrays.station_s[0] == pytest.approx(0.1)


def test_judged_frames_are_lossless() -> None:
    arrays = scripted_arrays(10)
    stored = cv2.imdecode(np.frombuffer(arrays.frames_png[0], np.uint8), cv2.IMREAD_COLOR)
    np.testing.assert_array_equal(stored[:, :, ::-1], picture(10))
    assert len(arrays.judged_observations()) == 5
    assert arrays.judged_observations()[0]["agent_xy"].tolist() == [10.0, 3.0]


def test_an_episode_without_a_step_is_still_an_episode() -> None:
    record, arrays = unpack(pack(scripted_record(1, steps=0), EpisodeBuffer().arrays()))
    assert (record.steps, len(arrays), arrays.judged_observations()) == (0, 0, [])


@pytest.mark.parametrize("damage", ["cut", "flip", "empty", "foreign"])
def test_a_torn_file_is_told_from_a_whole_one(damage: str) -> None:
    blob = pack(scripted_record(1), scripted_arrays(5))
    torn = {
        "cut": blob[:-1],
        "flip": blob[:200] + bytes([blob[200] ^ 1]) + blob[201:],
        "empty": b"",
        "foreign": b"x" * 500,
    }[damage]
    with pytest.raises(LabError, match=r"a\.episode is torn: .*the episode is run again"):
        read_record(torn, "a.episode")


def test_objects_cannot_be_smuggled_in() -> None:
    arrays = EpisodeArrays(late=np.array([None], dtype=object))
    with pytest.raises(LabError, match="no episode inside: an array of Python objects"):
        unpack(pack(scripted_record(1), arrays))


def test_a_file_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "x"
    write_atomic(path, b"one")
    write_atomic(path, b"two")
    assert path.read_bytes() == b"two"
    assert [p.name for p in tmp_path.iterdir()] == ["x"]


def test_the_spool_adopts_whole_files_and_sets_torn_ones_aside(tmp_path: Path) -> None:
    lab = scripted_lab(tmp_path / "lab")
    spool = Spool(lab.spool_dir)
    for seed in (1, 2, 3):
        record = scripted_record(seed)
        spool.put(record, pack(record, scripted_arrays(5)))
    broken = spool.path(scripted_record(2).key.text())
    broken.write_bytes(broken.read_bytes()[:100])
    (lab.spool_dir / ".half.episode.123.part").write_bytes(b"half")
    assert [record.key.seed for record in spool.adopt()] == [1, 3]
    assert [path.name for path in spool.torn.iterdir()] == [broken.name]
    assert not list(lab.spool_dir.glob(".*"))


def test_one_iteration_is_not_taken_for_another(tmp_path: Path) -> None:
    spool = Spool(scripted_lab(tmp_path / "lab").spool_dir)
    for iteration in ("I1", "I17", "I1.r1"):
        record = scripted_record(5, iteration=iteration)
        spool.put(record, pack(record, EpisodeArrays()))
    assert len(spool.of("C1", "I1")) == 1
    assert spool.iterations() == {("C1", "I1"), ("C1", "I17"), ("C1", "I1.r1")}


def test_evidence_and_observations_are_read_from_the_spool(tmp_path: Path) -> None:
    lab = scripted_lab(tmp_path / "lab")
    record, arrays = scripted_record(9), scripted_arrays(20)
    assert read_observations(lab, "C1", 8) == []
    Spool(lab.spool_dir).put(record, pack(record, arrays))
    stored = read_evidence(lab, record.key)
    assert stored.frames_png == arrays.frames_png
    assert stored.cameras == ["top"] * 5
    assert stored.observations[4]["block_pose"].tolist() == [220.0, 250.0, 1.0]
    seen = read_observations(lab, "C1", 3)
    assert [sorted(values) for values in seen] == [["agent_xy", "block_pose"]] * 3


def test_missing_evidence_is_named(tmp_path: Path) -> None:
    lab = scripted_lab(tmp_path / "lab")
    with pytest.raises(LabError, match=r"no judged frames of episode C1-I1-I1-search-5-0 .*dvc checkout"):
        read_evidence(lab, scripted_record(5).key)
