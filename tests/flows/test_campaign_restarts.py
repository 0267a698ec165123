"""A station flow that crashes again and again, without Prefect: it is tried until the end, and somebody is told."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Collection
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest
from prefect.client.schemas.objects import State, StateType

from data.ledger import SqliteLedger
from data.testing import scripted_lab
from flows import campaign as module
from flows.follow import Followed
from nightlab.errors import ServiceError
from nightlab.records import CampaignSpec, Event
from tasks.context import LabContext

CRASHED = State(type=StateType.CRASHED, name="Crashed")
CANCELLED = State(type=StateType.CANCELLED, name="Cancelled")
COMPLETED = State(type=StateType.COMPLETED, name="Completed")


class Writer:
    """The keeper's calls, straight into the ledger."""

    def __init__(self, ledger: SqliteLedger) -> None:
        self.ledger, self.away = ledger, 0

    async def append(self, event: Event) -> None:
        if self.away:
            self.away -= 1
            raise ServiceError("the keeper has not answered")
        self.ledger.append(event)

    async def start_campaign(self, spec: CampaignSpec) -> CampaignSpec:
        return spec


async def never(runs: Collection[UUID]) -> dict[UUID, State | None]:
    """Nobody is followed in these tests."""
    raise AssertionError(runs)


@pytest.fixture
def begin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., LabContext]:
    """A campaign `C1` in a fresh lab; its station flows end as the given states say."""

    def make(*states: State | None, budget_s: float = 1000.0) -> LabContext:
        lab = scripted_lab(tmp_path / "lab")
        ledger = SqliteLedger(lab.ledger_path)
        spec = CampaignSpec(campaign="C1", stations=2, budget_s=budget_s)
        data = spec.model_dump(mode="json")
        ledger.append(Event(event_id="c", kind="campaign_started", campaign="C1", wall_s=time.time(), data=data))
        left = iter(states)

        async def station(campaign: str, robot: str, followed: Followed) -> State | None:
            return next(left)

        monkeypatch.setattr(module, "_station", station)
        monkeypatch.setattr(module, "get_run_logger", lambda: logging.getLogger("test"))
        return LabContext(lab, Writer(ledger), ledger)  # type: ignore[arg-type]

    return make


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The campaign's pauses, which pass at once; every other user of asyncio, Prefect's threads too, sleeps on."""
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    monkeypatch.setattr(module, "asyncio", SimpleNamespace(**{**vars(asyncio), "sleep": sleep}))
    return pauses


def test_a_crashing_station_flow_is_tried_ever_more_rarely_and_told_once(
    begin: Callable[..., LabContext], slept: list[float]
) -> None:
    context = begin(*[CRASHED] * 20, COMPLETED)
    assert asyncio.run(module._serve(context, "C1", "robot-1", Followed(never))) == "Completed", "it is never dropped"
    assert slept == [1, 2, 4, 8, 16, 32, *[60] * 14]
    (told,) = context.ledger.events(kind="station_fault")
    assert (told.campaign, told.station) == ("C1", "robot-1")
    assert told.data["reason"] == (
        "its station flow ended Crashed 5 times in a row and brought nothing; it is tried again every 60 s until the "
        "campaign's end. See run/logs/fleet.log of the lab"
    )


def test_a_station_flow_that_somebody_deleted_is_started_again(
    begin: Callable[..., LabContext], slept: list[float]
) -> None:
    context = begin(None, COMPLETED)
    assert asyncio.run(module._serve(context, "C1", "robot-1", Followed(never))) == "Completed"
    assert slept == [1]


def test_what_a_crash_brought_begins_the_count_anew(
    begin: Callable[..., LabContext], slept: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    context = begin()
    starts = 0

    async def station(campaign: str, robot: str, followed: Followed) -> State:
        nonlocal starts
        starts += 1
        if starts % 5 == 0:
            event = Event(
                event_id=f"e{starts}", kind="iteration_ended", campaign="C1", station=robot, wall_s=1.0,
                data={"status": "crashed"},
            )  # fmt: skip
            await context.keeper.append(event)
        return CRASHED if starts < 12 else COMPLETED

    monkeypatch.setattr(module, "_station", station)
    asyncio.run(module._serve(context, "C1", "robot-1", Followed(never)))
    assert slept == [1, 2, 4, 8, 1, 1, 2, 4, 8, 1, 1]
    assert context.ledger.events(kind="station_fault") == []


def test_it_is_told_once_the_keeper_is_back(begin: Callable[..., LabContext], slept: list[float]) -> None:
    context = begin(*[CRASHED] * 8, COMPLETED)
    context.keeper.away = 2  # type: ignore[attr-defined]
    asyncio.run(module._serve(context, "C1", "robot-1", Followed(never)))
    (told,) = context.ledger.events(kind="station_fault")
    assert "Crashed 7 times in a row" in told.data["reason"]


def test_it_is_not_tried_beyond_the_budget(begin: Callable[..., LabContext], slept: list[float]) -> None:
    context = begin(CRASHED, CRASHED, budget_s=1e-9)
    assert asyncio.run(module._serve(context, "C1", "robot-1", Followed(never))) == "Crashed"
    assert slept == []


@pytest.mark.parametrize(
    ("states", "budget_s", "reason"),
    [
        ([CANCELLED, COMPLETED], 1000.0, "no station serves it any more: robot-1 Cancelled, robot-2 Completed"),
        ([CRASHED, CRASHED], 0.001, "the budget of 0.001 s is used up"),
    ],
)
def test_a_campaign_never_ends_without_a_reason(
    begin: Callable[..., LabContext], monkeypatch: pytest.MonkeyPatch, states: list[State], budget_s: float, reason: str
) -> None:
    context = begin(*states, budget_s=budget_s)

    async def artifact(*_: Any, **__: Any) -> None:
        return None

    for name in ("acreate_progress_artifact", "acreate_markdown_artifact", "aupdate_progress_artifact"):
        monkeypatch.setattr(module, name, artifact)
    monkeypatch.setattr(module, "pinned", lambda spec: spec)
    monkeypatch.setattr(LabContext, "here", lambda: context)
    brought = asyncio.run(module.campaign.fn(context.spec("C1")))
    (ended,) = context.ledger.events(kind="campaign_ended")
    assert ended.data["reason"] == brought["reason"] == reason
