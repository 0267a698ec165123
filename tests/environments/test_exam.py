"""Examining a verifier: the set is balanced and near the threshold, verdicts are counted against the truth."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from environments import exam
from environments.exam_tally import Known, Tally
from environments.push_t import exam as push_t
from environments.push_t.start import START_KEYS
from nightlab.errors import UsageError
from nightlab.geometry import coverage
from nightlab.records import Outcome, Verdict
from robots.profiles import load_profile
from robots.worlds import make_world


def test_the_set_of_push_t_is_balanced_and_hard() -> None:
    scores = np.array([coverage([state[key] for key in START_KEYS[2:]]) for state in push_t.states(200)])
    assert np.mean(scores >= 0.95) == 0.5
    assert np.mean(np.abs(scores - 0.95) <= 0.095) >= 0.3
    assert push_t.states(6, seed=1) == push_t.states(6, seed=1)
    assert push_t.states(6, seed=1) != push_t.states(6, seed=2)


def station() -> exam.TruthStation:
    return exam.TruthStation(make_world("push_t", load_profile("nominal", "push_t"), 3))


def test_a_case_carries_evidence_and_truth() -> None:
    state = push_t.states(2)[1]
    case = asyncio.run(exam.collect(station(), "push_t", state, 5))
    assert (case.success, case.part, len(case.evidence.frames)) == (True, "balanced", 10)
    assert case.value == pytest.approx(coverage([state[key] for key in START_KEYS[2:]]))


def test_verdicts_are_counted_against_the_truth() -> None:
    tally, case = Tally(push_t.BAND), Known(success=True, value=0.97, part="balanced")
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
    low, high = figures["agreement_wilson"]
    assert 0 < low < 0.5 < high < 1
    assert (figures["unsure_share"], figures["unscored"], figures["latency_p95_s"]) == (0.25, 1, 0.01)
    assert figures["cameras"]["top"] == {"n": 2, "false_positives": 0, "false_negatives": 1, "unsure": 0}
    assert figures["guard_band"] == [0.945, 0.955]
    assert [row["verdict"] for row in tally.wrong()] == ["failure", "unscored"]


def test_an_environment_without_exam_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(exam.package_name.__globals__["REGISTRY"], "bare", "environments.workbench")
    with pytest.raises(UsageError, match=r"bare has no module environments\.workbench\.exam, so its verifier cannot"):
        exam.module("bare", "exam")
