"""Examining a verifier: the set is balanced and near the threshold, verdicts are counted against the truth."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from environments import exam
from environments.push_t import PushTVerifier
from environments.push_t import exam as push_t
from environments.push_t.start import START_KEYS
from nightlab.errors import UsageError
from nightlab.geometry import coverage
from nightlab.records import Outcome, Verdict
from robots.profiles import load_profile
from robots.worlds import make_world

PROJECT = Path(exam.__file__).parents[1]


def test_the_set_of_push_t_is_balanced_and_hard() -> None:
    scores = np.array([coverage([state[key] for key in START_KEYS[2:]]) for state in push_t.states(200)])
    assert np.mean(scores >= 0.95) == 0.5
    assert np.mean(np.abs(scores - 0.95) <= 0.095) >= 0.3
    assert push_t.states(6, seed=1) == push_t.states(6, seed=1)
    assert push_t.states(6, seed=1) != push_t.states(6, seed=2)


def station() -> exam.TruthStation:
    return exam.TruthStation(make_world("push_t", load_profile("nominal", "push_t"), 3))


def test_a_case_carries_evidence_and_truth_and_comes_back_from_its_file(tmp_path: Path) -> None:
    state = push_t.states(2)[1]
    case = asyncio.run(exam.collect(station(), "push_t", state, 5))
    assert (case.success, case.part, len(case.evidence.frames)) == (True, "balanced", 10)
    assert case.value == pytest.approx(coverage([state[key] for key in START_KEYS[2:]]))
    exam.save(case, tmp_path / "a.case")
    back = exam.load(tmp_path / "a.case", "terminal")
    assert (back.success, back.value, back.part) == (case.success, case.value, "terminal")
    first, second = (PushTVerifier("abc").verify(what.evidence) for what in (case, back))
    assert first.model_copy(update={"latency_s": 0.0}) == second.model_copy(update={"latency_s": 0.0})


def test_verdicts_are_counted_against_the_truth() -> None:
    where, tally = station(), exam.Tally(push_t.BAND)
    case = asyncio.run(exam.collect(where, "push_t", push_t.states(4)[3], 5))
    said = {
        "right": Verdict(outcome=Outcome.SUCCESS, score=1.0, reason="held", cameras={"top": "success"}),
        "missed": Verdict(outcome=Outcome.FAILURE, score=0.5, reason="near_miss", cameras={"top": "failure"}),
        "unsure": Verdict(outcome=Outcome.SUCCESS, score=1.0, reason="held", extra_frames=5),
        "fault": Verdict(outcome=Outcome.UNSCORED, score=0.0, reason="camera_black"),
    }
    for verdict in said.values():
        tally.add(case, verdict, 0.01)
    figures = tally.figures(0.1)
    assert (figures["n"], figures["agreement"], figures["false_positives"], figures["false_negatives"]) == (
        4,
        0.5,
        0,
        1,
    )
    assert (figures["unsure_share"], figures["unscored"], figures["latency_p95_s"]) == (0.25, 1, 0.01)
    assert figures["cameras"]["top"] == {"n": 2, "false_positives": 0, "false_negatives": 1, "unsure": 0}
    assert figures["guard_band"] == [0.945, 0.955]
    assert [row["verdict"] for row in tally.wrong()] == ["failure", "unscored"]


def test_an_environment_without_exam_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(exam.package_name.__globals__["REGISTRY"], "bare", "environments.workbench")
    with pytest.raises(UsageError, match=r"bare has no module environments\.workbench\.exam, so its verifier cannot"):
        exam.module("bare", "exam")


def test_the_command_measures_through_the_verifiers_own_process() -> None:
    argv = [sys.executable, "-m", "commands.main", "verifier", "evaluate", "push_t", "--n", "8", "--terminal", "2"]
    done = subprocess.run([*argv, "--json"], cwd=PROJECT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout)
    assert (figures["n"], figures["parts"]["terminal"]["n"]) == (10, 2)
    assert {"agreement", "false_positives", "false_negatives", "unsure_share", "guard_band"} <= set(figures)
    assert figures["false_positives"] == 0
    assert 0 < figures["latency_p95_s"] < 1
    assert 0 <= figures["cpu_s_per_frame"] < 0.03
    refused = subprocess.run([*argv[:6], "--n", "0", "--terminal", "0"], cwd=PROJECT, capture_output=True, text=True)
    assert refused.returncode == 2
    assert "nothing to measure. Try: nightlab verifier evaluate push_t --n 500" in refused.stderr
