"""What a decision stores in Prefect does not grow with the campaign."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from data.campaign_state import CampaignState, IdeaState
from data.statistics import rate
from nightlab.records import CampaignSpec, Decision, IterationStatus, Judgement
from tasks import stage
from tasks import summarize as module
from tasks.context import LabContext
from tasks.summarize import ideas_table


def campaign(ideas: int) -> CampaignState:
    state = CampaignState(spec=CampaignSpec(campaign="C1"))
    state.ideas = {f"I{number}": IdeaState(idea=f"I{number}") for number in range(1, ideas + 1)}
    return state


def test_the_table_holds_the_last_fifty_ideas_and_says_how_many_there_are() -> None:
    rows, words = ideas_table(campaign(60))
    assert [row["idea"] for row in rows] == [f"I{number}" for number in range(11, 61)]
    assert words == "Ideas of C1, the last 50 of 60. Every idea: nightlab report, nightlab tree"
    rows, words = ideas_table(campaign(3))
    assert [row["idea"] for row in rows] == ["I1", "I2", "I3"]
    assert words.startswith("Ideas of C1, all 3.")


def test_a_decision_stores_that_table(monkeypatch: pytest.MonkeyPatch) -> None:
    stored: list[dict[str, Any]] = []
    none = rate([])
    judgement = Judgement(
        decision=Decision.REVERT, reason="no better", against="I0", pairs=0, wins=0, losses=0, p_better=1.0, p_worse=1.0,
        candidate=none, incumbent=none,
    )  # fmt: skip

    class Keeper:
        async def judge(self, campaign: str, iteration: str) -> Judgement:
            return judgement

        async def end_iteration(self, campaign: str, iteration: str, status: IterationStatus, detail: str) -> None:
            assert (status, detail) == (IterationStatus.DECIDED, "no better")

    class Lab:
        keeper = Keeper()

        def state(self, _: str) -> CampaignState:
            return campaign(3000)

        async def note(self, *_: Any, **__: Any) -> None:
            return None

    async def artifact(**what: Any) -> None:
        stored.append(what)

    async def room(_: Any) -> None:
        return None

    monkeypatch.setattr(module, "acreate_table_artifact", artifact)
    monkeypatch.setattr(module, "acreate_markdown_artifact", artifact)
    monkeypatch.setattr(stage, "room", room)
    monkeypatch.setattr(LabContext, "here", Lab)
    asyncio.run(module.summarize.fn("C1", "I3000", station="robot-1", decide=True, audit={}))
    (table,) = (what for what in stored if "table" in what)
    assert (table["key"], len(table["table"])) == ("ideas-c1", 50)
    assert "the last 50 of 3000" in table["description"]
