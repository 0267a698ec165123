"""What the fleet's watches know of the ledger: all of them the same, and no event is read twice."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from commands.station_watch import Standing
from commands.unpark import parked_stations
from data.estops import running_campaign
from data.ledger import LedgerReader, SqliteLedger
from nightlab.records import Event, EventKind

STORY: list[tuple[EventKind, str, str]] = [
    ("station_parked", "", "robot-1"), ("campaign_started", "C1", ""), ("episode", "C1", "robot-1"),
    ("station_parked", "C1", "robot-2"), ("station_parked", "C1", "robot-3"), ("station_unparked", "C1", "robot-2"),
    ("episode", "C1", "robot-1"), ("campaign_ended", "C0", ""), ("campaign_ended", "C1", ""),
    ("campaign_started", "C2", ""), ("station_parked", "C2", "robot-1"),
]  # fmt: skip


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The `seq` of every row that anybody reads."""
    seen: list[int] = []
    original = LedgerReader.events

    def events(self: LedgerReader, **how: Any) -> list[Event]:
        found = original(self, **how)
        seen.extend(event.seq for event in found)
        return found

    monkeypatch.setattr(LedgerReader, "events", events)
    return seen


def test_the_ledger_is_read_once_however_many_look(tmp_path: Path, read: list[int]) -> None:
    path = tmp_path / "ledger.db"
    standing = Standing(path)

    async def main() -> None:
        await standing.refresh()
        assert (standing.campaign, standing.parked) == ("", {}), "there is no ledger yet"
        ledger = SqliteLedger(path)
        for number, (kind, campaign, station) in enumerate(STORY):
            data = {"reason": f"reason {number}"} if kind == "station_parked" else {}
            ledger.append(
                Event(event_id=str(number), kind=kind, campaign=campaign, station=station, wall_s=1.0, data=data)
            )
            before = len(read)
            await asyncio.gather(*(standing.refresh() for _ in range(32)))
            assert len(read) - before <= 1, "32 watches read the one new event once, and nothing that is older"
            assert standing.parked == parked_stations(SimpleNamespace(ledger_path=path))  # type: ignore[arg-type]
            assert standing.campaign == running_campaign(LedgerReader(path).events())

    asyncio.run(main())
    assert standing.parked == {"robot-1": ("C2", "reason 10")}
    assert standing.campaign == "C2"


def test_a_slow_ledger_does_not_hold_up_the_fleet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    SqliteLedger(tmp_path / "ledger.db").append(Event(event_id="a", kind="campaign_started", campaign="C1", wall_s=1.0))
    monkeypatch.setattr(LedgerReader, "last_seq", lambda _: time.sleep(1.0) or 1)
    turns = 0

    async def main() -> None:
        nonlocal turns
        reading = asyncio.create_task(Standing(tmp_path / "ledger.db").refresh())
        while not reading.done():
            turns += 1
            await asyncio.sleep(0.05)
        await reading

    asyncio.run(main())
    assert turns >= 5, f"the event loop turned {turns} times while a second was read"
