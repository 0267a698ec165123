from __future__ import annotations

import stat
import subprocess
from pathlib import Path

import pytest

from data.lab import Lab, default_config
from data.testing import scripted_lab
from nightlab.errors import LabError, UsageError


def git(lab: Lab, *arguments: str) -> str:
    return subprocess.run(["git", "-C", str(lab.path), *arguments], capture_output=True, text=True, check=True).stdout


def test_a_new_lab_is_a_clean_repository_with_the_template(tmp_path: Path) -> None:
    lab = scripted_lab(tmp_path / "lab")
    assert git(lab, "status", "--porcelain") == ""
    assert git(lab, "branch", "--show-current").strip() == "lab"
    tracked = git(lab, "ls-files").split()
    assert "research/push_t/policy.py" in tracked
    assert {"lab.yaml", ".gitignore", ".dvc/config", ".dvcignore"} <= set(tracked)
    assert git(lab, "log", "--format=%s").startswith("A lab for push_t")
    assert lab.config == default_config()
    assert stat.S_IMODE(lab.run_dir.stat().st_mode) == 0o700
    for folder in (lab.records_dir, lab.rollouts_dir, lab.checkpoints_dir, lab.spool_dir, lab.worktrees_dir):
        assert folder.is_dir()


def test_dvc_accepts_the_repository_without_analytics(tmp_path: Path) -> None:
    from dvc.repo import Repo

    lab = scripted_lab(tmp_path / "lab")
    repo = Repo(str(lab.path))
    assert repo.status() == {}
    assert repo.config["core"]["analytics"] is False
    repo.close()
    assert git(lab, "status", "--porcelain") == ""


def test_opening_finds_what_creating_made(tmp_path: Path) -> None:
    scripted_lab(tmp_path / "lab")
    assert Lab.open(tmp_path / "lab").path == (tmp_path / "lab").resolve()
    assert Lab.open_or_create(tmp_path / "lab").config.stations[1].station == "robot-2"
    assert Lab.exists(tmp_path / "lab")
    assert not Lab.exists(tmp_path / "elsewhere")


def test_a_changed_configuration_is_read_again(tmp_path: Path) -> None:
    lab = scripted_lab(tmp_path / "lab")
    lab.write_config(default_config(stations=3, profile="real"))
    assert [station.profile for station in Lab.open(lab.path).config.stations] == ["real"] * 3


def test_a_folder_in_use_does_not_become_a_lab(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("precious")
    with pytest.raises(UsageError, match=r"is not empty\. Open it as a lab with: nightlab up"):
        Lab.create(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_an_environment_without_template_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"unknown environment 'juggling'; there are: .*push_t"):
        default_config(environment="juggling")
    config = default_config().model_copy(update={"environment": "juggling"})
    with pytest.raises(UsageError, match=r"unknown environment 'juggling'; there are: .*push_t"):
        Lab.create(tmp_path / "lab", config)
    bare = tmp_path / "bare"
    bare.mkdir()
    (bare / "policy.py").touch()
    with pytest.raises(UsageError, match=r"of push_t lacks train\.py, params\.yaml, notes\.md; researchers start from"):
        Lab.create(tmp_path / "lab", template=bare)
    assert not (tmp_path / "lab").exists()


def test_zero_stations_are_refused() -> None:
    with pytest.raises(UsageError, match=r"at least one station; asked were 0\. Try: --stations 2"):
        default_config(stations=0)


def test_a_missing_lab_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(LabError, match=r"no lab at .*nowhere\. Create it with: nightlab up --lab"):
        Lab.open(tmp_path / "nowhere")


@pytest.mark.parametrize("name", ["lab.yaml", ".git", ".dvc/config"])
def test_a_lab_with_a_part_missing_names_the_part(tmp_path: Path, name: str) -> None:
    lab = scripted_lab(tmp_path / "lab")
    (lab.path / name).rename(tmp_path / "gone")
    with pytest.raises(LabError, match=f"is not a whole lab: {name} is missing"):
        Lab.open(lab.path)


def test_a_broken_git_repository_is_named(tmp_path: Path) -> None:
    lab = scripted_lab(tmp_path / "lab")
    (lab.path / ".git" / "HEAD").write_text("nonsense")
    with pytest.raises(LabError, match=r"the git repository of the lab .* is broken: .*nightlab up --lab NEWDIR"):
        Lab.open(lab.path)


def test_a_broken_ledger_is_named(tmp_path: Path) -> None:
    lab = scripted_lab(tmp_path / "lab")
    lab.ledger_path.write_bytes(b"garbage " * 600)
    with pytest.raises(LabError, match=r"the ledger .*ledger\.db is not readable"):
        Lab.open(lab.path)


@pytest.mark.parametrize("text", ["stations: []\n", "stations: {", "colour: red\n"])
def test_a_wrong_lab_yaml_is_named(tmp_path: Path, text: str) -> None:
    lab = scripted_lab(tmp_path / "lab")
    lab.config_path.write_text(text)
    with pytest.raises(LabError, match=r"is not a valid lab\.yaml: .*restore lab\.yaml"):
        Lab.open(lab.path)


@pytest.mark.parametrize(
    ("names", "says"),
    [
        (("left", "left"), "2 stations are called 'left'; each needs a name of its own"),
        (("left arm",), "a station called 'left arm': letters, digits, - and _ make a name"),
        (("a,b",), "a station called 'a,b': letters"),
        (("../x",), "a station called '../x': letters"),
        (("campaign",), "a station called 'campaign': .*'campaign' is taken"),
    ],
)
def test_stations_have_names_that_can_be_told_apart(tmp_path: Path, names: tuple[str, ...], says: str) -> None:
    lab = scripted_lab(tmp_path / "lab")
    lab.config_path.write_text("stations:\n" + "".join(f"- {{station: '{name}'}}\n" for name in names))
    with pytest.raises(LabError, match=rf"is not a valid lab\.yaml: .*{says}"):
        Lab.open(lab.path)


def test_a_deep_lab_has_its_sockets_in_a_private_folder(tmp_path: Path) -> None:
    deep = Lab(tmp_path / ("d" * 120) / "lab")
    socket = deep.keeper_socket
    assert len(str(socket)) < 100
    assert socket == deep.keeper_socket
    assert stat.S_IMODE(socket.parent.stat().st_mode) == 0o700
    socket.parent.rmdir()
    assert Lab(Path("/x")).keeper_socket == Path("/x/run/keeper.sock")
