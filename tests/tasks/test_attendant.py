"""A parked simulated station is seen to after five minutes of its time; a real one, or an e-stop, waits for a person."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path

import pytest

from data.ledger import SqliteLedger
from data.testing import scripted_lab
from nightlab.records import Event, StationPlace, Work, WorkKind
from tasks.attendant import NOTE, attend
from tasks.context import LabContext


class Writer:
    """The keeper's append, straight into the ledger."""

    def __init__(self, ledger: SqliteLedger) -> None:
        self.ledger = ledger

    async def append(self, event: Event) -> None:
        self.ledger.append(event)


@pytest.fixture
def context(tmp_path: Path) -> LabContext:
    lab = scripted_lab(tmp_path / "lab")
    ledger = SqliteLedger(lab.ledger_path)
    places = [
        StationPlace(station="robot-1", address="127.0.0.1:1", admin_socket="/nowhere/robot-1.sock", station_seed=7),
        StationPlace(station="robot-2", address="127.0.0.1:2"),
    ]
    lab.state_path.parent.mkdir(parents=True, exist_ok=True)
    lab.state_path.write_text(json.dumps({"stations": [place.model_dump(mode="json") for place in places]}))
    return LabContext(lab, Writer(ledger), ledger)  # type: ignore[arg-type]


def park(context: LabContext, station: str, ago_s: float, **data: object) -> None:
    now_s = time.time()
    event = Event(
        event_id=f"station_parked:{station}:{now_s}", kind="station_parked", campaign="C1", station=station,
        wall_s=now_s - ago_s, data={"reason": "the pin lies on the table", **data},
    )  # fmt: skip
    asyncio.run(context.keeper.append(event))


def come(context: LabContext, station: str) -> tuple[bool, list[tuple[str, int]]]:
    laid: list[tuple[str, int]] = []

    async def lay(place: StationPlace, profile: str) -> None:
        laid.append((profile, place.station_seed))

    return asyncio.run(attend(context, "C1", station, lay)), laid


def test_five_minutes_of_station_time_after_the_page_the_scene_is_laid_anew(context: LabContext) -> None:
    park(context, "robot-1", ago_s=29.0, reset={"attempts": 3})  # speed 10
    assert come(context, "robot-1") == (False, []), "too early"
    park(context, "robot-1", ago_s=31.0, reset={"attempts": 3})
    assert come(context, "robot-1") == (True, [("nominal", 7)])
    (event,) = context.ledger.events(kind="station_unparked")
    assert (event.campaign, event.station) == ("C1", "robot-1")
    assert event.data == {"note": NOTE, "was": "the pin lies on the table", "scene_laid_anew": True}
    assert come(context, "robot-1") == (False, []), "it works already"


def test_a_real_station_and_an_estop_wait_for_a_person(context: LabContext) -> None:
    park(context, "robot-2", ago_s=9000.0, reset={"attempts": 3})
    assert come(context, "robot-2") == (False, [])
    park(context, "robot-1", ago_s=9000.0)
    assert come(context, "robot-1") == (False, [])
    assert context.ledger.events(kind="station_unparked") == []


def test_only_resets_that_gave_up_count_against_an_idea(context: LabContext) -> None:
    from flows.iteration import resets_given_up

    work = Work(kind=WorkKind.SEARCH, campaign="C1", iteration="I4", station="robot-1")
    for number, (iteration, data) in enumerate([("I4", {"reset": {}}), ("I4", {}), ("I5", {"reset": {}})]):
        event = Event(
            event_id=f"parked-{number}", kind="station_parked", campaign="C1", iteration=iteration, station="robot-1",
            wall_s=time.time(), data=data,
        )  # fmt: skip
        asyncio.run(context.keeper.append(event))
    assert resets_given_up(context, work) == 1, "an e-stop, or another idea's trial, is not its fault"
