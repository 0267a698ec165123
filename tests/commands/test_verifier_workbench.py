"""`nightlab verifier label, score, freeze, rescore` on Push-T, at a small scale and for real: simulator, sandbox, files."""

from __future__ import annotations

import asyncio
import csv
import json
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from commands.main import app
from commands.verifier_freeze import failing
from data.episodes import EpisodeArrays, pack
from data.lab import Lab
from data.ledger import SqliteLedger
from data.spool import Spool
from data.testing import scripted_record
from environments import manifest, signing
from environments.workbench.labelled import LabelledSet, open_set
from environments.workbench.scores import Scores, stills, without_sight
from environments.workbench.staging import stage_episodes
from environments.workbench.versions import find, known
from nightlab.contracts import StoredEvidence
from nightlab.errors import UsageError
from nightlab.records import EpisodeEnd, EpisodeRecord, Event, Outcome

PROJECT = Path(manifest.__file__).parents[1]
BUILT = PROJECT / "tests" / "tasks" / "build_push_t"
"""A verifier that is too generous."""


def call(*words: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as caught:
        app(words)
    out, err = capsys.readouterr()
    return int(caught.value.code or 0), out, err


@pytest.fixture(scope="module")
def operator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An operator with a key and the labelled set `sim` of 12 + 12 episodes."""
    folder = tmp_path_factory.mktemp("operator") / "nightlab"
    before = os.environ.get(signing.KEY_VARIABLE)
    os.environ[signing.KEY_VARIABLE] = str(folder / "operator.key")
    signing.create_key()
    with pytest.raises(SystemExit) as done:
        app(["verifier", "label", "push_t", "--n", "24", "--seed", "3", "--profile", "real"])
    assert not done.value.code
    yield folder
    os.environ.pop(signing.KEY_VARIABLE)
    if before is not None:
        os.environ[signing.KEY_VARIABLE] = before


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """A lab with ten episodes, judged by the verifier as it is, one of them ended by a policy that broke."""
    from environments import make_verifier
    from environments.evidence import from_message, stored_message

    lab = Lab.create(tmp_path_factory.mktemp("rescore") / "lab")
    verifier = make_verifier("push_t", manifest.check("push_t"))
    ledger = SqliteLedger(lab.ledger_path)

    async def record() -> None:
        number = 0
        async for staged in stage_episodes("push_t", "nominal", [5], 10, 11):
            verdict = verifier.verify(from_message(stored_message("push_t", staged.stored, start=staged.start)))
            made = scripted_record(number)
            fault = ""
            if number == 3:
                made, fault = made.model_copy(update={"end": EpisodeEnd.POLICY_FAULT}), "it raised ValueError"
                verdict = verdict.model_copy(
                    update={"outcome": Outcome.FAILURE, "reason": f"policy_fault: {fault}"[:300]}
                )
            made = made.model_copy(update={"verdict": verdict, "fault": fault})
            Spool(lab.spool_dir).put(made, pack(made, arrays(staged.stored)))
            data = made.model_dump(mode="json")
            ledger.append(Event(event_id=f"e{number}", kind="episode", campaign="C1", wall_s=1.0 + number, data=data))
            number += 1

    asyncio.run(record())
    ledger.close()
    return lab


def arrays(stored: StoredEvidence) -> EpisodeArrays:
    import numpy as np

    judged = {key: np.array([row[key] for row in stored.observations]) for key in stored.observations[0]}
    return replace(
        EpisodeArrays(),
        frames_png=list(stored.frames_png),
        frame_cameras=list(stored.cameras),
        frame_seqs=list(stored.seqs),
        judged=judged,
    )


def test_the_workbench_has_these_verbs(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = call("verifier", "--help", capsys=capsys)
    assert code == 0
    assert all(f"  {verb}" in out for verb in ("key", "label", "evaluate", "score", "freeze", "rescore"))
    for words in (("verifier", "rescore"), ("verifier", "freeze"), ("environment", "build")):
        code, out, _ = call(*words, "--help", capsys=capsys)
        assert code == 0
        assert "--json" in out


# Labelled sets -------------------------------------------------------------------------------------------------------


def test_a_labelled_set_is_balanced_and_for_its_owner_alone(operator: Path) -> None:
    halves = [open_set("push_t", "sim", "development"), open_set("push_t", "sim", "held_out")]
    for half in halves:
        labels = [note.success for note in half.index.items]
        assert (len(labels), sum(labels)) == (12, 6)
        assert half.index.band == (0.945, 0.955)
        for path in [half.folder, half.folder.parent, half.folder.parents[1], half.folder.parents[2], operator]:
            assert stat.S_IMODE(path.stat().st_mode) == 0o700, path
        for note in half.index.items:
            assert stat.S_IMODE((half.folder / f"{note.item}.item").stat().st_mode) == 0o600
            assert note.success == (note.value is not None and note.value >= 0.95)
    assert not {note.sha256 for note in halves[0].index.items} & {note.sha256 for note in halves[1].index.items}


def test_a_changed_item_is_named(operator: Path, tmp_path: Path) -> None:
    held = open_set("push_t", "sim", "held_out")
    shutil.copytree(held.folder, tmp_path / "set")
    copy = LabelledSet(tmp_path / "set", held.index)
    path = copy.folder / "0002.item"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    copy.item(held.index.items[0])
    with pytest.raises(UsageError, match=r"0002\.item was changed after it was labelled"):
        copy.item(held.index.items[1])


def test_labelling_twice_asks_for_another_name(operator: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = call("verifier", "label", "push_t", "--n", "2", capsys=capsys)
    assert code == 2
    assert "there is a labelled set at" in err
    assert "name another with --set NAME" in err


def test_an_unknown_set_names_those_there_are(operator: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = call("verifier", "score", "push_t", "--set", "nope", capsys=capsys)
    assert code == 2
    assert "unknown labelled set (held_out) of push_t 'nope'; there are: " in err
    assert "sim" in err


def test_a_person_labels_recorded_episodes(
    operator: Path, recorded: Lab, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sheet = tmp_path / "sheet"
    words = ("verifier", "label", "push_t", "--lab", str(recorded.path), "--set", "seen")
    code, out, _ = call(*words, "--sheet", str(sheet), "--n", "6", capsys=capsys)
    assert code == 0
    assert "fill in answers.csv" in out
    rows = list(csv.DictReader((sheet / "answers.csv").open()))
    assert len(rows) == 6
    assert all(row["label"] == "" for row in rows), "a person is not told what the verifier said"
    assert len(list(sheet.glob("*-top.png"))) == 6
    answers = sheet / "answers.csv"
    said = ["success", "no", "", "y", "f", "s"]
    text = "episode,label,note\n" + "".join(f"{row['episode']},{a},\n" for row, a in zip(rows, said, strict=True))
    answers.write_text(text.replace(",no,", ",perhaps,"))
    code, _, err = call(*words, "--answers", str(answers), "--held-out", "0.6", capsys=capsys)
    assert code == 2
    assert "label 'perhaps' of" in err
    shutil.rmtree(operator / "labels" / "push_t" / "seen")
    answers.write_text(text)
    code, out, _ = call(*words, "--answers", str(answers), "--held-out", "0.6", capsys=capsys)
    assert code == 0
    kept = [open_set("push_t", "seen", half).index.items for half in ("development", "held_out")]  # type: ignore[arg-type]
    assert [len(items) for items in kept] == [3, 2]
    assert sum(note.success for items in kept for note in items) == 3


# Scores --------------------------------------------------------------------------------------------------------------


def test_scores_of_the_verifier_as_it_is(operator: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = call("verifier", "score", "push_t", "--json", capsys=capsys)
    assert code == 0, err
    scores = Scores.model_validate({key: value for key, value in json.loads(out).items() if key != "misses"})
    assert (scores.n, scores.successes, scores.split) == (12, 6, "held_out")
    assert (scores.agreement_outside_band, scores.false_positives_outside_band, scores.broken) == (1.0, 0, 0)
    assert scores.flicker_pairs >= 48
    assert scores.flicker is not None
    assert 0 < scores.latency_p50_s <= scores.latency_p95_s
    assert scores.cameras["top"].blinded.get("success", 0) == 0
    assert sum(scores.cameras["top"].blinded.values()) == 6
    assert failing(scores) == []


def test_a_generous_verifier_is_found_out(operator: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = call("verifier", "score", "push_t", "--version", str(BUILT), capsys=capsys)
    assert code == 0
    assert "false_positive" in out
    assert "precision 1.0000" not in out


def test_single_looks_and_blindness() -> None:
    rows = [{"a": number} for number in range(4)]
    seen = StoredEvidence([b"t0", b"s0", b"t1", b"s1"], rows, ["top", "side"] * 2, [1, 2, 3, 4])  # type: ignore[arg-type]
    first, second = stills(seen)
    assert first.frames_png == [b"t0", b"s0", b"t0", b"s0"]
    assert second.frames_png == [b"t1", b"s1", b"t1", b"s1"]
    assert (list(first.seqs), [row["a"] for row in second.observations]) == ([1, 2, 3, 4], [2] * 4)
    held = one_episode()
    dark = without_sight(held, "top")
    assert len(set(dark.frames_png)) == 1
    assert without_sight(held, "side").frames_png == list(held.frames_png)


def one_episode() -> StoredEvidence:
    """The evidence of one staged episode."""

    async def first() -> StoredEvidence:
        async for staged in stage_episodes("push_t", "nominal", [1], 1, 1):
            return staged.stored
        raise AssertionError("nothing was staged")

    return asyncio.run(first())


# Versions and rescore ------------------------------------------------------------------------------------------------


def test_the_same_version_reproduces_every_verdict(recorded: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = call("verifier", "rescore", "--lab", str(recorded.path), "--json", capsys=capsys)
    assert code == 0, err
    found = json.loads(out)
    assert (found["n"], found["exact"], found["changed"], found["frames_missing"]) == (10, 10, 0, 0)
    assert list(found["versions"]) == [manifest.check("push_t")]


def test_another_version_lists_what_changes(recorded: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("verifier", "rescore", "--lab", str(recorded.path), "--campaign", "C1", "--version", str(BUILT))
    code, out, _ = call(*words, "--json", capsys=capsys)
    assert code == 0
    found = json.loads(out)
    flips = [change for change in found["changes"] if "outcome" in change["differs"]]
    assert len(flips) == found["outcome_changed"] >= 1
    assert {(flip["before"]["outcome"], flip["after"]["outcome"]) for flip in flips} == {("failure", "success")}
    assert not any("-3-0" in flip["episode"] for flip in flips), "a policy that broke has failed, whatever is seen"
    _, text, _ = call(*words, capsys=capsys)
    assert "10 episodes judged again" in text
    assert "failure → success" in text


def test_an_episode_without_frames_is_counted(
    recorded: Lab, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(recorded.path, tmp_path / "lab")
    next(iter((tmp_path / "lab" / "spool").glob("*.episode"))).unlink()
    _, out, _ = call("verifier", "rescore", "--lab", str(tmp_path / "lab"), "--json", capsys=capsys)
    assert (json.loads(out)["frames_missing"], json.loads(out)["exact"]) == (1, 9)


def test_an_unknown_version_names_those_there_are(recorded: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = call("verifier", "rescore", "--lab", str(recorded.path), "--version", "abcdef012345", capsys=capsys)
    assert code == 2
    assert "unknown version of push_t 'abcdef012345'; there are: " in err
    assert manifest.check("push_t")[:12] in err


def test_a_lab_without_episodes_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = call("verifier", "rescore", "--lab", str(Lab.create(tmp_path / "lab").path), capsys=capsys)
    assert code == 2
    assert "no recorded episode in" in err


def test_an_old_version_is_found_in_git(tmp_path: Path) -> None:
    """The project's own history: freeze, commit, change, freeze again; the first version is found by its sha256."""
    root = tmp_path / "project"
    for room in ("environments", "nightlab", "robots", "data"):
        shutil.copytree(PROJECT / room, root / room, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(PROJECT / "requirements.lock", root)
    run = lambda *words: subprocess.run(words, cwd=root, capture_output=True, text=True, check=True).stdout  # noqa: E731
    git = ("git", "-c", "user.name=t", "-c", "user.email=t@t", "-c", "core.hooksPath=/dev/null")
    first = run(sys.executable, "-m", "environments.manifest", "freeze", "push_t").split()[1]
    run("git", "init", "-q")
    run("git", "add", ".")
    run(*git, "commit", "-q", "-m", "one")
    spec = root / "environments" / "push_t" / "spec.py"
    spec.write_text(spec.read_text() + "\nNEW = 1\n")
    second = run(sys.executable, "-m", "environments.manifest", "freeze", "push_t").split()[1]
    run(*git, "commit", "-q", "-a", "-m", "two")
    script = (
        "from pathlib import Path; from environments.workbench.versions import find\n"
        f"v = find('push_t', '{first[:10]}', Path({str(tmp_path / 'old')!r}))\n"
        "print(v.sha256, v.source.split()[0], 'NEW' in (v.root / 'environments/push_t/spec.py').read_text())"
    )
    assert run(sys.executable, "-c", script).split() == [first, "git", "False"]
    assert second != first
    assert not list((tmp_path / "old").glob("robots")), "nothing but what is frozen"


def test_current_is_known_and_found(operator: Path, tmp_path: Path) -> None:
    sha256 = manifest.check("push_t")
    assert known("push_t")[0] == sha256
    assert find("push_t", sha256[:9], tmp_path / "a").source == "current"
    with pytest.raises(UsageError, match=r"holds no reset\.py or verify.py"):
        find("push_t", str(tmp_path), tmp_path / "b")


# Freeze --------------------------------------------------------------------------------------------------------------


def test_a_generous_verifier_is_not_signed(operator: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = call("verifier", "freeze", "push_t", "--from", str(BUILT), "--yes", capsys=capsys)
    assert code == 2
    assert "push_t is not signed: agreement outside the guard band" in err
    assert "false positives outside the guard band, none allowed" in err
    assert not signing.pin_path("push_t").exists()


def test_freezing_needs_a_held_out_set(operator: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = call("verifier", "freeze", "push_t", "--set", "other", capsys=capsys)
    assert code == 2
    assert "no held-out labelled set 'other' of push_t" in err
    assert "nightlab verifier label push_t --set other" in err


def test_freezing_signs_stores_and_pins(operator: Path, tmp_path: Path) -> None:
    """In a copy of the project, since it writes the manifest: sign, then a change is refused until it is signed too."""
    root = tmp_path / "project"
    for room in ("agents", "commands", "data", "environments", "flows", "nightlab", "policies", "robots", "tasks"):
        shutil.copytree(PROJECT / room, root / room, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(PROJECT / "requirements.lock", root)
    env = {**os.environ, signing.KEY_VARIABLE: str(operator / "operator.key")}

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, *words], cwd=root, capture_output=True, text=True, env=env)

    try:
        done = run("-m", "commands.main", "verifier", "freeze", "push_t", "--note", "for the night", "--json")
        assert done.returncode == 0, done.stderr
        told = json.loads(done.stdout)
        signed = json.loads((root / "environments" / "push_t" / "manifest.json").read_text())
        assert signing.signer(signed) == signing.public_key()
        assert (signed["sha256"], signed["note"], signed["scores"]["n"]) == (told["sha256"], "for the night", 12)
        assert (operator / "versions" / "push_t" / told["sha256"] / "environments" / "push_t" / "verify.py").is_file()
        limits = root / "environments" / "push_t" / "limits.py"
        limits.write_text(limits.read_text() + "\n# wider\n")
        run("-m", "environments.manifest", "freeze", "push_t")
        refused = run("-m", "environments.manifest", "check", "push_t")
        assert refused.returncode == 2
        assert "push_t is frozen on this machine at" in refused.stderr
        assert run("-m", "commands.main", "verifier", "freeze", "push_t", "--release").returncode == 0
        assert "not pinned" in run("-m", "commands.main", "verifier", "freeze", "push_t", "--release").stdout
        version = find("push_t", told["sha256"][:12], tmp_path / "stored")
        assert version.sha256 == told["sha256"]
    finally:
        signing.release_pin("push_t")


def test_records_name_what_changed() -> None:
    from commands.verifier_rescore import differences

    record: EpisodeRecord = scripted_record(1)
    again = record.verdict.model_copy(update={"latency_s": 9.0, "verifier_sha256": "other"})
    assert differences(record, again) == []
    assert differences(record, again.model_copy(update={"score": 0.9700000001})) == ["score"]
