"""The campaign ends while an iteration is under way, without Prefect: no stage begins that no robot would have use for."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from data.ledger import SqliteLedger
from data.testing import scripted_lab, scripted_record
from flows import iteration as module
from nightlab.records import CampaignSpec, Event, EventKind, IterationStatus, SeedPool, Work, WorkKind
from tasks.context import LabContext

STAGES = ("literature", "propose", "train", "deploy", "rollout", "verify", "summarize")
OVER = "the budget of 1000 s is used up"
SEARCH = Work(kind=WorkKind.SEARCH, campaign="C1", iteration="I1", station="robot-1", parent="I0")
HELD_OUT = Work(
    kind=WorkKind.HELD_OUT, campaign="C1", iteration="E1", station="robot-1", idea="I0", seeds=(7,), draw=1,
    pool=SeedPool.HELD_OUT,
)  # fmt: skip
BROUGHT = {
    "propose": {"idea": {"idea": "I1"}}, "deploy": {"problems": []}, "rollout": {"stopped": OVER},
    "summarize": {"status": "decided"},
}  # fmt: skip


class Bench:
    """A campaign of 1000 s in a fresh lab whose stages say their names, and end it where they are told to."""

    def __init__(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        lab = scripted_lab(path)
        self.now_s, self.ran, self.over_after, self.episode = time.time(), list[str](), "", False
        self.ledger = SqliteLedger(lab.ledger_path)
        self.emit(
            "campaign_started", "", CampaignSpec(campaign="C1", stations=1, budget_s=1000.0).model_dump(mode="json")
        )
        context = LabContext(lab, self, self.ledger)  # type: ignore[arg-type]
        monkeypatch.setattr(LabContext, "here", lambda: context)
        monkeypatch.setattr(module, "time", SimpleNamespace(time=lambda: self.now_s))
        for name in STAGES:
            monkeypatch.setattr(module, name, self.stage(name))

    def emit(self, kind: EventKind, iteration: str, data: dict[str, Any]) -> None:
        name = f"{kind}:{iteration}"
        self.ledger.append(
            Event(event_id=name, kind=kind, campaign="C1", iteration=iteration, wall_s=self.now_s, data=data)
        )

    async def end_iteration(self, campaign: str, iteration: str, status: IterationStatus, detail: str) -> None:
        """The keeper's call."""
        self.emit("iteration_ended", iteration, {"status": status.value, "detail": detail})

    def stage(self, name: str) -> Callable[..., Any]:
        async def run(*_: Any, iteration: str = "", **__: Any) -> dict[str, Any]:
            self.ran.append(name)
            if name == "rollout" and self.episode:
                self.emit("episode", iteration, scripted_record(1, iteration=iteration).model_dump(mode="json"))
            if name == self.over_after:
                self.now_s += 1001.0
            return BROUGHT.get(name, {})

        return run

    def run(self, work: Work) -> dict[str, Any]:
        return asyncio.run(module.iteration.fn("C1", work.station, work))


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    return Bench(tmp_path / "lab", monkeypatch)


@pytest.mark.parametrize("last", ["literature", "propose", "train", "deploy", "rollout"])
def test_an_idea_goes_no_further_once_the_campaign_is_over(bench: Bench, last: str) -> None:
    bench.over_after = last
    assert bench.run(SEARCH) == {"status": "stopped", "reason": OVER}
    assert bench.ran == list(STAGES[: STAGES.index(last) + 1])
    (ended,) = bench.ledger.events(kind="iteration_ended")
    assert ended.data == {"status": "stopped", "detail": OVER}


@pytest.mark.parametrize("work", [SEARCH, HELD_OUT])
def test_what_comes_too_late_does_not_begin(bench: Bench, work: Work) -> None:
    bench.now_s += 1001.0
    assert bench.run(work) == {"status": "stopped", "reason": OVER}
    assert bench.ran == []


def test_a_trial_that_has_begun_is_judged_by_what_it_has(bench: Bench) -> None:
    bench.over_after, bench.episode = "rollout", True
    assert bench.run(SEARCH) == {"status": "decided"}
    assert bench.ran == list(STAGES)
