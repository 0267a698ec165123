"""Cases on disk: the same verdicts come of them, the folder's name stands for the code, a broken one says what to do."""

from __future__ import annotations

import asyncio
import json
import stat
from pathlib import Path

import numpy as np
import pytest

from environments import exam, signing
from environments.push_t import PushTVerifier
from environments.push_t import exam as push_t
from environments.workbench.kept_cases import DRAWS_NOTHING, MADE, KeptCases, code_hashes, open_cases, pack, unpack
from nightlab.errors import UsageError
from robots.profiles import load_profile
from robots.worlds import make_world

REFERENCE = {"modules": ["benchmarks.reference.push_t.policy"], "also": ["benchmarks/terminal_states.py"]}


@pytest.fixture(autouse=True)
def operator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(signing.KEY_VARIABLE, str(tmp_path / "operator" / "operator.key"))
    return tmp_path / "operator"


def a_case() -> exam.Case:
    station = exam.TruthStation(make_world("push_t", load_profile("nominal", "push_t"), 3))
    return asyncio.run(exam.collect(station, "push_t", push_t.states(2)[1], 5))


def test_a_kept_case_gets_the_verdict_that_it_got(tmp_path: Path) -> None:
    case, kept = a_case(), KeptCases(tmp_path, "terminal")
    kept.save(3, case)
    assert (len(kept), kept.missing(5)) == (1, [0, 1, 2, 4])
    assert [path.name for path in tmp_path.glob("0*")] == ["00003.case"], "nothing half written stays"
    back = kept.load(3)
    assert (back.known.success, back.known.value, back.known.part) == (case.success, case.value, "terminal")
    assert back.stored.seqs == [frame.seq for frame in case.evidence.frames]
    from environments.evidence import from_message, stored_message

    again = from_message(stored_message("push_t", back.stored, back.faults, back.start))
    first, second = (PushTVerifier("abc").verify(what) for what in (case.evidence, again))
    assert first.model_copy(update={"latency_s": 0.0}) == second.model_copy(update={"latency_s": 0.0})


def test_equal_pictures_are_kept_once() -> None:
    case = a_case()
    assert all(np.array_equal(frame.rgb, case.evidence.frames[0].rgb) for frame in case.evidence.frames[:2])
    back = unpack(pack(case), "balanced")
    assert len(back.stored.frames_png) == len(case.evidence.frames)
    assert len(pack(case)) < 2 * len(back.stored.frames_png[0]) + 8192


def test_the_folder_stands_for_code_profile_and_seeds(operator: Path) -> None:
    here = open_cases("push_t", "balanced", "nominal", n=5, seed=0)
    assert here.folder == open_cases("push_t", "balanced", "nominal", n=5, seed=0).folder
    others = [
        open_cases("push_t", "balanced", "nominal", n=6, seed=0),
        open_cases("push_t", "balanced", "nominal", n=5, seed=1),
        open_cases("push_t", "balanced", "hard", n=5, seed=0),
        open_cases("push_t", "terminal", "nominal", n=5, seed=0),
        open_cases("pin_insertion", "balanced", "nominal", n=5, seed=0),
    ]
    assert len({kept.folder for kept in (here, *others)}) == 6
    assert here.folder.parent == operator / "exams" / "push_t"
    assert stat.S_IMODE(operator.stat().st_mode) == 0o700
    made = json.loads((here.folder / MADE).read_text())
    assert {"environments/push_t/exam.py", "robots/worlds/push_t.py"} <= set(made["files"])


def test_the_code_is_what_a_case_comes_from() -> None:
    plain, played = code_hashes("push_t"), code_hashes("push_t", **REFERENCE)
    assert "robots/profiles/push_t/hard.yaml" in plain
    assert not any(name.startswith(DRAWS_NOTHING) for name in plain)
    assert not any(name.startswith(("policies/", "benchmarks/")) for name in plain)
    assert set(played) - set(plain) >= {"benchmarks/reference/push_t/policy.py", "benchmarks/terminal_states.py"}
    assert any(name.startswith("policies/library/push_t/") for name in played)
    assert {"environments/pin_insertion/reset.py", "nightlab/skills/pin.py"} <= set(code_hashes("pin_insertion"))


def test_a_case_that_is_broken_says_what_to_do(tmp_path: Path) -> None:
    kept = KeptCases(tmp_path, "balanced")
    with pytest.raises(UsageError, match=r"no case 0 in .* make them anew: rm -r"):
        kept.load(0)
    (tmp_path / "00000.case").write_bytes(pack(a_case())[:1000])
    with pytest.raises(UsageError, match="make them anew"):
        kept.load(0)
