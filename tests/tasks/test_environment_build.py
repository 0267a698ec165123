"""A scripted researcher authors a verifier through the workbench; a person freezes it. Shown once, from end to end."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from environments import manifest, signing
from environments.workbench.labelled import SetWriter, folder_of, open_set
from environments.workbench.staging import stage_episodes
from nightlab.errors import UsageError
from nightlab.sandbox import probe
from tasks.environment_build import BuildOrder, Round, build

HERE = Path(__file__).parent
PROJECT = Path(manifest.__file__).parents[1]
SCRIPT, START = HERE / "build_push_t.yaml", HERE / "build_push_t"


@pytest.fixture(scope="module")
def operator(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """An operator with a key and labelled sets of 16 episodes for development, 12 held out."""
    folder = tmp_path_factory.mktemp("operator") / "nightlab"
    before = os.environ.get(signing.KEY_VARIABLE)
    os.environ[signing.KEY_VARIABLE] = str(folder / "operator.key")
    signing.create_key()

    async def label() -> None:
        for split, count in (("development", 16), ("held_out", 12)):
            writer = SetWriter(folder_of("push_t", "sim", split), "push_t", "sim", split, (0.945, 0.955))  # type: ignore[arg-type]
            async for staged in stage_episodes("push_t", "nominal", [count], count, count):
                writer.add(
                    staged.stored, success=staged.success, value=staged.value, start=staged.start, source="simulator"
                )
            writer.finish(0.0)

    asyncio.run(label())
    yield folder
    os.environ.pop(signing.KEY_VARIABLE)
    if before is not None:
        os.environ[signing.KEY_VARIABLE] = before


@pytest.fixture(scope="module")
def built(operator: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], list[Round], Path]:
    """The report, the rounds and the folder of one build."""
    room = tmp_path_factory.mktemp("build")
    held_out = open_set("push_t", "sim", "held_out").folder / "index.json"
    script = room / "script.yaml"
    script.write_text(SCRIPT.read_text().replace("LABELS", str(held_out)))
    rounds: list[Round] = []
    order = BuildOrder("push_t", f"scripted:{script}", room / "out", rounds=9, resets=2, source=START)
    report = asyncio.run(build(order, on_round=rounds.append))
    return report, rounds, room / "out"


def score(rounds: list[Round], idea: str) -> Any:
    return next(made.score for made in rounds if made.idea == idea)


def test_good_ideas_are_kept_and_bad_ones_are_not(built: Any) -> None:
    report, rounds, out = built
    assert [(made.idea, made.kept) for made in rounds if made.score] == [
        ("B0", True), ("B1", False), ("B2", True), ("B3", False), ("B4", False), ("B5", False),
    ]  # fmt: skip
    assert rounds[-1].status == "no_change", "the script has ended, and the build with it"
    assert score(rounds, "B0").verify.false_positives_outside_band > 0
    assert score(rounds, "B2").verify.agreement_outside_band == 1.0
    assert report["best"] == "B2"
    assert "THRESHOLD = spec.SUCCESS_COVERAGE" in (out / "best" / "verify.py").read_text()
    assert report["next"] == f"nightlab verifier freeze push_t --from {out / 'best'}"
    assert json.loads((out / "report.json").read_text()) == report
    assert "THRESHOLD = 0.85" in next(made for made in rounds if made.idea == "B2").diff


def test_a_verifier_that_says_yes_is_reverted(built: Any) -> None:
    verify = score(built[1], "B1").verify
    assert verify.false_positives == verify.n - verify.successes


def test_a_file_that_does_not_load_is_a_crash_and_no_more(built: Any) -> None:
    assert "does not load: SyntaxError" in score(built[1], "B3").verify_error


@pytest.mark.skipif(probe().level == "rlimits", reason="a build is refused where nothing can be contained")
def test_the_held_out_labels_cannot_be_opened(built: Any) -> None:
    found = score(built[1], "B4")
    assert found.verify.broken == found.verify.n
    assert any("FileNotFoundError" in why or "PermissionError" in why for why in found.failures), found.failures


def test_a_reset_that_lies_is_found_by_the_truth(built: Any) -> None:
    reset = score(built[1], "B5").reset
    assert (reset.claimed, reset.successes) == (2, 0)
    assert reset.failures == {"reset: it asked for another start than the seed's": 2}
    good = score(built[1], "B2").reset
    assert (good.successes, good.mean_attempts) == (2, 1.0)
    assert good.worst_distance is not None
    assert good.worst_distance < 3.0


def test_what_the_researcher_saw(built: Any, operator: Path) -> None:
    _, _, out = built
    workspace = out / "workspace"
    shown = {path.relative_to(workspace).as_posix() for path in workspace.rglob("*") if path.is_file()}
    assert {"verify.py", "reset.py", "vision.py", "spec.py", "notes.md", "reference/contracts.py"} <= shown
    assert {"development/scores.json", "development/failures.json"} <= shown
    assert not {"truth.py", "exam.py", "manifest.json"} & shown
    held_out = {note.sha256 for note in open_set("push_t", "sim", "held_out").index.items}
    text = "".join(path.read_text() for path in workspace.rglob("*.json"))
    assert not any(sha in text for sha in held_out)
    assert "held_out" not in text


def test_failures_are_shown_with_pictures(built: Any, operator: Path, tmp_path: Path) -> None:
    """As at the beginning: the generous verifier's misses on the development set."""
    from environments.workbench.authoring import show_failures
    from environments.workbench.judge import Judge
    from environments.workbench.scores import score as measure
    from environments.workbench.versions import find

    development = open_set("push_t", "sim", "development")

    async def run() -> Any:
        async with Judge(find("push_t", str(START), tmp_path / "version")) as judge:
            return await measure(judge, development, flicker=False, ablation=False)

    scores, misses = asyncio.run(run())
    (tmp_path / "w" / "development").mkdir(parents=True)
    show_failures(tmp_path / "w", development, scores, misses, None)
    notes = json.loads((tmp_path / "w" / "development" / "failures.json").read_text())
    assert len(notes) == len(misses) > 0
    assert {note["kind"] for note in notes} == {"false_positive"}
    for note in notes:
        assert note["label"] == "failure"
        assert 0.85 <= note["value"] < 0.95
        assert all((tmp_path / "w" / "development" / name).is_file() for name in note["pictures"])


def test_a_person_freezes_the_result(built: Any, operator: Path, tmp_path: Path) -> None:
    """In a copy of the project, whose files are replaced by the built ones."""
    _, _, out = built
    root = tmp_path / "project"
    for room in ("agents", "commands", "data", "environments", "flows", "nightlab", "policies", "robots", "tasks"):
        shutil.copytree(PROJECT / room, root / room, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(PROJECT / "requirements.lock", root)
    words = ["verifier", "freeze", "push_t", "--from", str(out / "best"), "--yes"]
    try:
        done = subprocess.run(
            [sys.executable, "-m", "commands.main", *words],
            cwd=root,
            capture_output=True,
            text=True,
            env=dict(os.environ),
        )
        assert done.returncode == 0, done.stderr
        assert "is signed and frozen on this machine" in done.stdout
        assert "+++ verify.py built" in done.stderr, "the person sees what changes"
        frozen = root / "environments" / "push_t"
        assert (frozen / "verify.py").read_text() == (out / "best" / "verify.py").read_text()
        assert (frozen / "reset.py").read_text() == (PROJECT / "environments" / "push_t" / "reset.py").read_text()
        signed = json.loads((frozen / "manifest.json").read_text())
        assert signing.signer(signed) == signing.public_key()
        assert signed["scores"]["split"] == "held_out"
    finally:
        signing.release_pin("push_t")


def test_who_cannot_build(operator: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="the offline researcher combines modules of policies and cannot write"):
        asyncio.run(build(BuildOrder("push_t", "offline", tmp_path)))
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").touch()
    with pytest.raises(UsageError, match="is not empty; name another folder: --out DIR"):
        asyncio.run(build(BuildOrder("push_t", f"scripted:{SCRIPT}", tmp_path / "full")))
    with pytest.raises(UsageError, match="unknown labelled set"):
        asyncio.run(build(BuildOrder("push_t", f"scripted:{SCRIPT}", tmp_path / "out", set_name="none")))
    (tmp_path / "from").mkdir()
    (tmp_path / "from" / "spec.py").touch()
    order = BuildOrder("push_t", f"scripted:{SCRIPT}", tmp_path / "out", source=tmp_path / "from")
    with pytest.raises(UsageError, match=r"spec\.py cannot be built; a folder to begin with holds: reset\.py, verify"):
        asyncio.run(build(order))
