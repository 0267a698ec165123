"""A held-out draw: when it passes and when it is futile."""

from __future__ import annotations

from data.held_out import HeldOutDraw
from data.pairs import Result
from data.statistics import max_failures
from nightlab.records import Outcome, Work, WorkKind


def test_a_draw_passes_only_when_complete() -> None:
    held = HeldOutDraw(1, "I1", 100, 0.95)
    held.claim(Work(kind=WorkKind.HELD_OUT, campaign="C1", iteration="E1", seeds=tuple(range(100))))
    good = Result(outcome=Outcome.SUCCESS, score=1, steps=9)
    for seed in range(99):
        held.add(seed, good)
    assert held.rate.wilson_low > 0.95
    assert not held.passed
    held.add(99, Result(outcome=Outcome.UNSCORED, score=0, steps=1))
    assert (held.complete, held.unscored) == (False, 1)
    held.end("E1")
    assert held.missing == (99,)
    held.add(99, good)
    assert held.passed
    assert not held.open


def test_a_draw_is_futile_one_failure_after_the_last_allowed() -> None:
    held = HeldOutDraw(1, "I1", 400, 0.95)
    for seed in range(max_failures(400, 0.95)):
        held.add(seed, Result(outcome=Outcome.FAILURE, score=0, steps=9))
    assert held.open
    held.add(399, Result(outcome=Outcome.FAILURE, score=0, steps=9))
    assert held.futile
    assert not held.open
