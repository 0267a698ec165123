"""A researcher that had no idea by the campaign's end is not asked again."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from data.ledger import SqliteLedger
from data.testing import scripted_lab
from nightlab.records import CampaignSpec, Event
from tasks.context import LabContext
from tasks.propose import propose


class Keeper:
    """Hands out empty workspaces; events go straight into the ledger."""

    def __init__(self, ledger: SqliteLedger, room: Path) -> None:
        self.ledger, self.room, self.opened = ledger, room, 0

    async def append(self, event: Event) -> None:
        self.ledger.append(event)

    async def open_workspace(self, iteration: str, parent: str) -> Path:
        self.opened += 1
        return self.room


@pytest.mark.parametrize(
    ("budget_s", "asked", "detail"), [(1000.0, 3, "offline: "), (0.5, 1, "the budget of 0.5 s is used up")]
)
def test_it_is_asked_again_only_while_there_is_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, budget_s: float, asked: int, detail: str
) -> None:
    script = tmp_path / "ideas.yaml"
    script.write_text("ideas: [{status: timeout, think_s: 0.6}]\nrepeat: true\n")
    lab = scripted_lab(tmp_path / "lab")
    ledger = SqliteLedger(lab.ledger_path)
    spec = CampaignSpec(campaign="C1", stations=1, budget_s=budget_s, researcher=f"scripted:{script}")
    data = spec.model_dump(mode="json")
    ledger.append(Event(event_id="c", kind="campaign_started", campaign="C1", wall_s=time.time(), data=data))
    keeper = Keeper(ledger, tmp_path)
    context = LabContext(lab, keeper, ledger)  # type: ignore[arg-type]
    monkeypatch.setattr(LabContext, "here", lambda: context)
    found = asyncio.run(propose.fn("C1", "I1", station="robot-1", parent="I0", literature={}))
    assert found["idea"] is None
    assert found["detail"].startswith(detail)
    assert keeper.opened == asked
