"""Frozen means enforced: any change of frozen code is named, whatever file it is in."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from environments import manifest
from nightlab.errors import TamperError, UsageError
from nightlab.manifest import check_manifest, hash_files, import_closure, total_hash, write_manifest

PROJECT = Path(manifest.__file__).parents[1]


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the frozen parts of the project, frozen there."""
    for room in ("environments", "nightlab"):
        shutil.copytree(PROJECT / room, tmp_path / room, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(PROJECT / "requirements.lock", tmp_path)
    assert run(tmp_path, "freeze").returncode == 0
    return tmp_path


def run(where: Path, verb: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "environments.manifest", verb, "push_t"], cwd=where, capture_output=True, text=True
    )


def test_the_committed_manifest_is_that_of_the_code() -> None:
    """Fails after any change of frozen code until it is frozen anew: python -m environments.manifest freeze push_t."""
    assert len(manifest.check("push_t")) == 64


def test_it_covers_what_decides_an_outcome() -> None:
    frozen = set(manifest.current("push_t"))
    own = {f"environments/push_t/{name}.py" for name in ("start", "reset", "verify", "limits", "spec", "vision")}
    shared = {"nightlab/geometry.py", "nightlab/contracts.py", "environments/verifier_process.py", "requirements.lock"}
    assert own | shared <= frozen
    assert not any(name.startswith(("policies/", "research/", "agents/", "data/", "tests/")) for name in frozen)


@pytest.mark.parametrize(
    "name",
    ["environments/push_t/verify.py", "environments/push_t/limits.py", "nightlab/geometry.py", "requirements.lock"],
)
def test_one_changed_byte_is_named(copy: Path, name: str) -> None:
    with (copy / name).open("a") as file:
        file.write("\n")
    done = run(copy, "check")
    assert done.returncode == 2
    assert f"frozen code of push_t differs from manifest.json: {name} was changed." in done.stderr
    assert "freeze it anew: python -m environments.manifest freeze push_t" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("name", ["environments/push_t/verify.py", "nightlab/geometry.py", "requirements.lock"])
@pytest.mark.parametrize("what", ["changed", "gone"])
def test_what_is_listed_is_looked_at_without_parsing(copy: Path, name: str, what: str) -> None:
    code = (
        "import ast; from environments import manifest; ast.parse = None; print(manifest.check('push_t', listed=True))"
    )
    command = [sys.executable, "-c", code]
    good = subprocess.run(command, cwd=copy, capture_output=True, text=True)
    assert good.stdout.strip() == json.loads((copy / "environments/push_t/manifest.json").read_text())["sha256"]
    if what == "gone":
        (copy / name).unlink()
    else:
        (copy / name).write_text((copy / name).read_text() + "\n")
    done = subprocess.run(command, cwd=copy, capture_output=True, text=True)
    assert done.returncode == 1
    said = f"{name} was changed" if what == "changed" else f"{name} is gone or no longer imported"
    assert said in done.stderr


def test_a_package_that_would_shadow_a_frozen_module_is_named(copy: Path) -> None:
    (copy / "nightlab/geometry").mkdir()
    (copy / "nightlab/geometry/__init__.py").write_text("def coverage(pose): return 1.0\n")
    done = run(copy, "check")
    assert done.returncode == 2
    assert "nightlab/geometry/__init__.py is new" in done.stderr
    assert "nightlab/geometry.py is gone or no longer imported" in done.stderr


def test_a_new_file_in_the_environments_folder_is_named(copy: Path) -> None:
    (copy / "environments/push_t/extra.py").write_text('"""New."""\n')
    assert "environments/push_t/extra.py is new" in run(copy, "check").stderr


def test_a_hand_edited_or_missing_manifest_is_refused(copy: Path) -> None:
    path = copy / "environments/push_t/manifest.json"
    record = json.loads(path.read_text())
    path.write_text(json.dumps({**record, "sha256": "0" * 64}))
    assert "was edited by hand" in run(copy, "check").stderr
    path.unlink()
    done = run(copy, "check")
    assert done.returncode == 2
    assert "cannot be read" in done.stderr


def test_a_tampered_verifier_does_not_start(copy: Path) -> None:
    (copy / "environments/push_t/spec.py").open("a").write("SUCCESS_COVERAGE = 0.5\n")
    command = [sys.executable, "-m", "environments.verifier_process", "--socket", "v.sock", "--ready-file", "ready"]
    done = subprocess.run(command, cwd=copy, capture_output=True, text=True, timeout=30)
    assert done.returncode == 2
    assert done.stderr.startswith(
        "nightlab: verifier: frozen code of push_t differs from manifest.json: environments/push_t"
    )
    assert not (copy / "ready").exists()


def test_the_closure_follows_every_form_of_import(tmp_path: Path) -> None:
    files = {
        "a/__init__.py": "",
        "a/one.py": "import json\nfrom . import two\nfrom .sub import deep\n",
        "a/two.py": "def f():\n    import b.three as x\n    return x\n",
        "a/sub/__init__.py": "from ..two import f\n",
        "a/sub/deep.py": "",
        "b/__init__.py": "",
        "b/three.py": "from b import four\n",
        "b/four.py": "",
        "b/unused.py": "",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert sorted(import_closure([tmp_path], ["a.one"])) == sorted(set(files) - {"b/unused.py"})
    with pytest.raises(TamperError, match=r"frozen module a\.none is gone"):
        import_closure([tmp_path], ["a.none"])
    (tmp_path / "b/four.py").write_text("def (")
    with pytest.raises(TamperError, match=r"four\.py is not valid Python"):
        import_closure([tmp_path], ["a.one"])


def test_a_manifest_round_trip(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("1")
    hashes = hash_files({"x": tmp_path / "x"})
    total = write_manifest(tmp_path / "m.json", "thing", hashes)
    assert total == total_hash(hashes) == check_manifest(tmp_path / "m.json", "thing", hashes, fix="freeze")
    with pytest.raises(
        TamperError, match=r"x was changed\. Undo the change, or, if it is meant, freeze it anew: freeze"
    ):
        check_manifest(tmp_path / "m.json", "thing", {"x": "0"}, fix="freeze")


def test_bad_arguments_are_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert manifest.main(["melt"]) == 2
    assert manifest.main(["check", "nope"]) == 2
    errors = capsys.readouterr().err
    assert "usage: python -m environments.manifest freeze|check [ENV]" in errors
    assert "unknown environment 'nope'; there are: " in errors
    with pytest.raises(UsageError):
        manifest.check("nope")


def test_of_a_folder_of_packages_only_the_environments_own_is_first_party(tmp_path: Path) -> None:
    for name, text in {"mine/__init__.py": "import theirs", "mine/a.py": "", "theirs/__init__.py": ""}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert sorted(import_closure([tmp_path], ["mine.a"])) == ["mine/__init__.py", "mine/a.py", "theirs/__init__.py"]
    assert sorted(import_closure([tmp_path], ["mine.a"], only={tmp_path: "mine"})) == ["mine/__init__.py", "mine/a.py"]


def test_the_card_is_frozen_with_the_code(copy: Path) -> None:
    card = copy / "environments/push_t/environment.yaml"
    card.write_text(card.read_text().replace("world: push_t", "world: easier"))
    assert "environments/push_t/environment.yaml was changed" in run(copy, "check").stderr
