from __future__ import annotations

import subprocess
import threading
import time
from pathlib import Path

import pytest

from data.lab import Lab
from data.testing import scripted_lab
from data.versions import Versions
from nightlab.errors import LabError


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    lab = scripted_lab(tmp_path / "lab")
    shard = lab.rollouts_dir / "I1" / "robot-1"
    shard.mkdir(parents=True)
    (shard / "a.bin").write_bytes(b"one")
    return lab


def test_a_folder_is_versioned_and_comes_back(lab: Lab) -> None:
    versions = Versions(lab.path)
    assert versions.add(["rollouts/I1"]) == ["rollouts/I1.dvc"]
    assert versions.status() == {}
    file = lab.rollouts_dir / "I1" / "robot-1" / "a.bin"
    file.unlink()
    assert "rollouts/I1.dvc" in versions.status()
    versions.checkout(["rollouts/I1"])
    assert versions.status() == {}
    assert file.read_bytes() == b"one"


def test_git_sees_the_pointer_only(lab: Lab) -> None:
    Versions(lab.path).add(["rollouts/I1"])
    listed = ["git", "-C", str(lab.path), "ls-files", "--others", "--exclude-standard"]
    assert subprocess.run(listed, capture_output=True, text=True, check=True).stdout.split() == ["rollouts/I1.dvc"]


def test_bytes_are_kept_once(lab: Lab) -> None:
    Versions(lab.path).add(["rollouts/I1"])
    assert (lab.rollouts_dir / "I1" / "robot-1" / "a.bin").stat().st_nlink == 2


def test_a_busy_lock_is_waited_for(lab: Lab) -> None:
    versions, other = Versions(lab.path), Versions(lab.path)
    taken, done = threading.Event(), []

    def hold() -> None:
        with other.open().lock:
            taken.set()
            time.sleep(0.4)
            done.append(time.monotonic())

    thread = threading.Thread(target=hold)
    thread.start()
    assert taken.wait(5)
    versions.add(["rollouts/I1"])
    assert done
    assert time.monotonic() >= done[0]
    thread.join()


def test_what_is_missing_is_named(lab: Lab) -> None:
    with pytest.raises(LabError, match=r"dvc add rollouts/I9 in .* failed: .*I9.*Look at it with: cd .* && dvc status"):
        Versions(lab.path).add(["rollouts/I9"])


def test_nothing_to_add_is_nothing_to_do(tmp_path: Path) -> None:
    assert Versions(tmp_path).add([]) == []
