"""Waiting for a processor: so many compute at once, and the ledger says who waited how long."""

from __future__ import annotations

import asyncio
import itertools
import os
from pathlib import Path

from data.ledger import SqliteLedger
from data.testing import scripted_lab
from nightlab.records import Event
from tasks.context import LabContext
from tasks.processors import WAITED_S, computing


class Writer:
    """The keeper's one call, straight into the ledger."""

    def __init__(self, ledger: SqliteLedger) -> None:
        self.ledger = ledger

    async def append(self, event: Event) -> None:
        self.ledger.append(event)


def most_at_once(tmp_path: Path, places: int, *, hold_s: float) -> tuple[int, list[Event]]:
    """How many of eight computed at once, and the notes of those that waited."""
    lab = scripted_lab(tmp_path / "lab")
    ledger = SqliteLedger(lab.ledger_path)
    context = LabContext(lab, Writer(ledger), ledger)  # type: ignore[arg-type]
    inside = most = 0

    async def one(iteration: str) -> None:
        nonlocal inside, most
        where = {"campaign": "C1", "iteration": iteration, "station": "robot-1"}
        async with computing(context, "train", places=places, **where):
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(hold_s)
            inside -= 1

    async def main() -> None:
        await asyncio.gather(*(one(f"I{number}") for number in range(8)))

    asyncio.run(main())
    return most, ledger.events(kind="note")


def test_as_many_compute_at_once_as_there_are_processors(tmp_path: Path) -> None:
    assert most_at_once(tmp_path, 0, hold_s=0.02)[0] == min(8, len(os.sched_getaffinity(0)))


def test_who_waited_is_in_the_ledger_with_how_long(tmp_path: Path) -> None:
    most, notes = most_at_once(tmp_path, 1, hold_s=2 * WAITED_S)
    assert most == 1
    assert [event.iteration for event in notes] == [f"I{number}" for number in range(1, 8)]
    assert {(event.campaign, event.station, event.data["note"]) for event in notes} == {
        ("C1", "robot-1", "waited for a processor to train")
    }
    waited_s = [event.data["waited_s"] for event in notes]
    assert all(later > earlier + WAITED_S for earlier, later in itertools.pairwise(waited_s))
