"""Frames of several cameras with depth: kept losslessly in spool and shard, and judged from what was kept."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from data.episodes import EpisodeBuffer, pack, read_evidence
from data.judged import read_judged, write_judged
from data.spool import Spool
from data.testing import picture, scripted_arrays, scripted_lab, scripted_record
from environments.evidence import from_message, stored_message
from nightlab.contracts import Frame
from nightlab.depth import STEP_m, decode_depth, encode_depth, on_grid
from nightlab.errors import UsageError
from nightlab.records import Clock

CLOCK = Clock(wall_s=0.0, station_s=0.0)


def depth(step: int = 0) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    rng = np.random.default_rng(step)
    return on_grid(np.asarray(0.4 + 0.2 * rng.random((48, 64)), dtype=np.float32))


def frames() -> list[Frame]:
    """Two rounds of top (with depth) and side (without); the second round shows the same."""
    shots = {"top": (picture(1, 128), depth()), "side": (picture(2, 128), None)}
    return [
        Frame(name, CLOCK, seq, *(part.copy() if part is not None else None for part in shots[name]))
        for seq, name in enumerate(("top", "side", "top", "side"), 5)
    ]


def test_depth_on_the_cameras_grid_comes_back_exactly() -> None:
    before = depth(3)
    np.testing.assert_array_equal(decode_depth(encode_depth(before)), before)
    odd = np.array([[np.nan, -1.0, 7.0, 0.12345]], dtype=np.float32)
    assert on_grid(odd).tolist() == [[0.0, 0.0, 0.0, pytest.approx(0.1234, abs=STEP_m)]]
    with pytest.raises(UsageError, match="4 bytes given as a depth picture are no 16-bit PNG"):
        decode_depth(b"junk")


def test_several_cameras_come_back_from_the_spool(tmp_path: Path) -> None:
    lab, record = scripted_lab(tmp_path / "lab"), scripted_record(3)
    seen = {"peak_force": np.array([1.0, 2.0])}
    arrays = EpisodeBuffer().arrays().with_frames(frames(), [seen] * 4, {"peak_force_N": 12.5})
    assert arrays.frames_png[0] is arrays.frames_png[2]
    assert arrays.depths_png[1] == b""
    Spool(lab.spool_dir).put(record, pack(record, arrays))
    stored = read_evidence(lab, record.key)
    assert (stored.cameras, stored.seqs) == (["top", "side", "top", "side"], [5, 6, 7, 8])
    assert stored.measures == {"peak_force_N": 12.5}
    evidence = from_message(stored_message("pin_insertion", stored))
    for shot, back in zip(frames(), evidence.frames, strict=True):
        assert (shot.camera, shot.seq) == (back.camera, back.seq)
        np.testing.assert_array_equal(shot.rgb, back.rgb)
        if shot.depth_m is None:
            assert back.depth_m is None
        else:
            np.testing.assert_array_equal(shot.depth_m, back.depth_m)
    assert evidence.measures == {"peak_force_N": 12.5}


def test_a_folder_of_judged_frames_comes_back(tmp_path: Path) -> None:
    stored = EpisodeBuffer().arrays().with_frames(frames() * 4, [{"a": np.array([1.0])}] * 16).stored()
    write_judged(tmp_path, stored)
    back = read_judged(tmp_path)
    assert back.frames_png == stored.frames_png
    assert back.depths_png == stored.depths_png
    assert back.cameras == stored.cameras
    assert len(back.frames_png) == 16


def test_folders_and_files_of_earlier_versions_are_read(tmp_path: Path) -> None:
    arrays = scripted_arrays(5)
    write_judged(tmp_path, arrays.stored())
    (tmp_path / "evidence.json").unlink()
    old = read_judged(tmp_path)
    assert (old.frames_png, list(old.cameras), list(old.depths_png)) == (arrays.frames_png, [], [])
    evidence = from_message(stored_message("push_t", old))
    assert [frame.seq for frame in evidence.frames] == [0, 1, 2, 3, 4]
    assert {frame.camera for frame in evidence.frames} == {""}
