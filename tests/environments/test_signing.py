"""Whose manifest counts: signatures, pins, and where the operator's key may lie."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from environments import manifest, signing
from nightlab.errors import TamperError, UsageError

PROJECT = Path(manifest.__file__).parents[1]


@pytest.fixture
def operator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An operator with a key, away from the user's own."""
    folder = tmp_path / "operator"
    monkeypatch.setenv(signing.KEY_VARIABLE, str(folder / "operator.key"))
    signing.create_key()
    return folder


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the frozen parts of the project, frozen there."""
    root = tmp_path / "project"
    for room in ("environments", "nightlab", "robots", "data"):
        shutil.copytree(PROJECT / room, root / room, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(PROJECT / "requirements.lock", root)
    assert run(root, "-m", "environments.manifest", "freeze", "push_t").returncode == 0
    return root


def run(where: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *words], cwd=where, capture_output=True, text=True, env=dict(os.environ))


def sign_in(root: Path) -> str:
    """Sign and pin push_t as it is in a copy, as `nightlab verifier freeze` does; returns its sha256."""
    script = (
        "import json; from environments import manifest as m, signing as s\n"
        "m.freeze('push_t'); p = m.manifest_path('push_t'); r = s.sign(json.loads(p.read_text()))\n"
        "p.write_text(json.dumps(r)); s.write_pin('push_t', r); print(m.check('push_t'))"
    )
    done = run(root, "-c", script)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def check_in(root: Path) -> subprocess.CompletedProcess[str]:
    return run(root, "-m", "environments.manifest", "check", "push_t")


def test_the_key_is_for_its_owner_alone(operator: Path) -> None:
    assert stat.S_IMODE((operator / "operator.key").stat().st_mode) == 0o600
    assert stat.S_IMODE(operator.stat().st_mode) == 0o700
    assert len(bytes.fromhex(signing.public_key())) == 32
    with pytest.raises(UsageError, match=r"there is a key at .*nightlab verifier key --show"):
        signing.create_key()
    (operator / "operator.key").chmod(0o644)
    with pytest.raises(UsageError, match="can be read by others; mend it with: chmod 600"):
        signing.sign({"subject": "push_t", "sha256": "0", "files": {}})


def test_no_key_is_one_clear_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(signing.KEY_VARIABLE, str(tmp_path / "none" / "operator.key"))
    with pytest.raises(UsageError, match=r"no operator's key at .*make one with: nightlab verifier key"):
        signing.sign({"subject": "push_t"})


@pytest.mark.parametrize("inside", ["lab", "project"])
def test_a_key_never_lies_where_researchers_work(inside: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path if inside == "lab" else PROJECT
    (tmp_path / "lab.yaml").touch()
    monkeypatch.setenv(signing.KEY_VARIABLE, str(place / "deep" / "operator.key"))
    with pytest.raises(UsageError, match="where researchers work; name a place outside of every lab"):
        signing.create_key()
    assert not (place / "deep").exists()


def test_a_signature_covers_the_whole_manifest(operator: Path) -> None:
    signed = signing.sign(
        {"subject": "push_t", "sha256": "ab", "files": {"a.py": "1"}, "scores": {"n": 1}, "note": "x"}
    )
    assert signing.signer(signed) == signing.public_key()
    for field, other in [("sha256", "cd"), ("files", {}), ("scores", {"n": 2}), ("note", "y"), ("subject", "z")]:
        with pytest.raises(TamperError, match="does not fit it: it was changed after it was signed"):
            signing.signer({**signed, field: other})
    with pytest.raises(TamperError, match="does not fit"):
        signing.signer({**signed, "signature": {**signed["signature"], "value": "00"}})
    assert signing.signer({key: value for key, value in signed.items() if key != "signature"}) == ""


def test_without_a_pin_the_shipped_manifest_counts(operator: Path, copy: Path) -> None:
    assert check_in(copy).returncode == 0, "unsigned, and nobody has frozen push_t on this machine"


def test_a_pin_holds_against_freezing_anew(operator: Path, copy: Path) -> None:
    sha256 = sign_in(copy)
    assert check_in(copy).stdout.split() == ["push_t", sha256]
    verify = copy / "environments" / "push_t" / "verify.py"
    verify.write_text(verify.read_text() + "\n# easier now\n")
    assert run(copy, "-m", "environments.manifest", "freeze", "push_t").returncode == 0, "the attacker can do that"
    done = check_in(copy)
    assert done.returncode == 2
    assert f"push_t is frozen on this machine at {sha256[:12]}" in done.stderr
    assert "nightlab verifier freeze push_t" in done.stderr


def test_a_pin_holds_against_taking_the_signature_off(operator: Path, copy: Path) -> None:
    sign_in(copy)
    assert run(copy, "-m", "environments.manifest", "freeze", "push_t").returncode == 0
    done = check_in(copy)
    assert done.returncode == 2
    assert "push_t is frozen on this machine, but its manifest is not signed" in done.stderr


def test_a_pin_holds_against_a_foreign_signature(
    operator: Path, copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sign_in(copy)
    monkeypatch.setenv(signing.KEY_VARIABLE, str(tmp_path / "other" / "operator.key"))
    signing.create_key()
    sign_in(copy)
    monkeypatch.setenv(signing.KEY_VARIABLE, str(operator / "operator.key"))
    done = check_in(copy)
    assert done.returncode == 2
    assert "its manifest is signed by another" in done.stderr


def test_a_pin_holds_against_a_pin_of_ones_own(operator: Path, copy: Path) -> None:
    sign_in(copy)
    pin = operator / "pins" / "push_t.json"
    forged = json.loads(pin.read_text())
    pin.write_text(json.dumps({**forged, "note": "forged"}))
    done = check_in(copy)
    assert done.returncode == 2
    assert "does not fit it: it was changed after it was signed" in done.stderr
    assert signing.release_pin("push_t")
    assert not signing.release_pin("push_t")
    assert check_in(copy).returncode == 0


def test_a_broken_signature_never_counts_even_without_a_pin(operator: Path, copy: Path) -> None:
    sign_in(copy)
    signing.release_pin("push_t")
    path = copy / "environments" / "push_t" / "manifest.json"
    record = json.loads(path.read_text())
    path.write_text(json.dumps({**record, "note": "better than it is"}))
    done = check_in(copy)
    assert done.returncode == 2
    assert "was changed after it was signed" in done.stderr
