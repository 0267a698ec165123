"""Bad input: one clear line, exit status 2, nothing started, nothing lost."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from data.lab import Lab, default_config

PROJECT = Path(__file__).resolve().parents[2]


def nightlab(*arguments: object) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    return subprocess.run(
        [sys.executable, "-m", "commands.main", *map(str, arguments)],
        cwd=PROJECT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("run", "push_x"), ("push_x", "push_t", "nightlab environment list")),
        (("run", "push_t", "--stations", 0), ("--stations 0", "1 to 64")),
        (("run", "push_t", "--speed", "fast"), ("fast", "max")),
        (("run", "push_t", "--budget", "-3m"), ("-3m", "10m")),
        (("run", "push_t", "--target", "1.5"), ("1.5", "0.95")),
        (("run", "push_t", "--profile", "dreamy"), ("dreamy", "nominal")),
        (("run", "push_t", "--researcher", "oracle"), ("oracle", "offline")),
        (("run", "push_t", "--researcher", "scripted:nowhere.yaml"), ("nowhere.yaml",)),
        (("replay", "I1", "--from", "lunch"), ("lunch", "rollout")),
    ],
)
def test_wrong_request_says_what_exists(tmp_path: Path, arguments: tuple[object, ...], words: tuple[str, ...]) -> None:
    done = nightlab(*arguments, "--lab", tmp_path / "lab")
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    for word in words:
        assert word in done.stderr, f"{word!r} is missing in: {done.stderr}"
    assert not (tmp_path / "lab").exists()


@pytest.mark.parametrize("verb", [("report",), ("tree",), ("status",), ("replay", "I1"), ("evaluate", "best")])
def test_no_lab_names_the_command_that_makes_one(tmp_path: Path, verb: tuple[str, ...]) -> None:
    done = nightlab(*verb, "--lab", tmp_path / "nothing")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "nothing" in done.stderr
    assert "nightlab" in done.stderr


@pytest.mark.parametrize(("text", "words"), [("9:9", "no seed"), ("a:b", "A:B"), ("-5:-2", "no seed")])
def test_unusable_seeds(tmp_path: Path, text: str, words: str) -> None:
    Lab.create(tmp_path / "lab", default_config())
    done = nightlab("evaluate", "best", f"--seeds={text}", "--lab", tmp_path / "lab")
    assert done.returncode == 2
    assert words in done.stderr


def test_unreadable_seeds_file(tmp_path: Path) -> None:
    Lab.create(tmp_path / "lab", default_config())
    (tmp_path / "seeds.txt").write_text("1\ntwo\n")
    done = nightlab("evaluate", "best", "--seeds", tmp_path / "seeds.txt", "--lab", tmp_path / "lab")
    assert done.returncode == 2
    assert "seeds.txt" in done.stderr
    assert "one whole number a line" in done.stderr


@pytest.mark.parametrize("what", ["ledger.db", "lab.yaml"])
def test_corrupt_lab_is_named_and_left_alone(tmp_path: Path, what: str) -> None:
    lab = Lab.create(tmp_path / "lab", default_config())
    broken = lab.path / what
    broken.write_bytes(b"\x00 this is no longer what it was " * 50)
    before = broken.read_bytes()
    done = nightlab("run", "push_t", "--lab", lab.path)
    assert done.returncode == 2, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert what in done.stderr
    assert broken.read_bytes() == before
