"""A real keeper hands out robots: to whoever is ready, again when a trial dies, and filler work gives way."""

from __future__ import annotations

import asyncio
from pathlib import Path

from data.keeper_client import KeeperClient
from data.lab import Lab
from data.ledger import LedgerReader
from data.testing import running, scripted_lab
from nightlab.records import CampaignSpec, IterationStatus, Work, WorkKind

BOTH = ("robot-1", "robot-2")


async def claim(keeper: KeeperClient, station: str, kind: WorkKind) -> Work:
    work = await keeper.claim("C1", station)
    assert work.kind is kind, work
    return work


async def campaign(lab: Lab) -> None:
    async with KeeperClient(lab.keeper_socket) as keeper:
        await keeper.start_campaign(CampaignSpec(stations=2, baseline_n=10, speed=10))
        baselines = [await claim(keeper, station, WorkKind.BASELINE) for station in BOTH]
        ideas = [await claim(keeper, station, WorkKind.SEARCH) for station in ("robot-1", "robot-1", "robot-2")]
        for work in baselines:  # nothing was measured; what matters here is that the robots are free
            await keeper.end_iteration("C1", work.iteration, IterationStatus.STOPPED, station=work.station)

        doomed = KeeperClient(lab.keeper_socket)
        first = await doomed.await_station("C1", ideas[0].iteration, BOTH)
        second = await keeper.await_station("C1", ideas[1].iteration, BOTH)
        assert {first[0], second[0]} == set(BOTH), "an idea of robot-1 runs at robot-2 because that one is free"
        third = asyncio.create_task(keeper.await_station("C1", ideas[2].iteration, BOTH))
        await asyncio.sleep(0.2)
        assert not third.done()
        await doomed.close()  # as when its process is killed
        assert await asyncio.wait_for(third, 10) == first
        await keeper.leave_station("C1", ideas[1].iteration)
        again = await keeper.await_station("C1", ideas[0].iteration, (second[0],))
        assert again == second, "the trial that died is started again, and waits like any other"
        went_on = await keeper.next_episode("C1", ideas[0].iteration, second[0])
        assert went_on == {"stop": "", "parked": "", "give_way": False}


def test_a_robot_goes_to_whoever_is_ready_and_comes_back_when_a_trial_dies(tmp_path: Path) -> None:
    lab = scripted_lab(tmp_path / "lab")
    with running("data.keeper", lab.path):
        asyncio.run(campaign(lab))
    with LedgerReader(lab.ledger_path) as ledger:
        given = [(event.iteration, event.station) for event in ledger.events(kind="dispatched")]
    assert len(given) == 4
    assert {station for _, station in given} == set(BOTH)


async def fill(lab: Lab) -> None:
    async with KeeperClient(lab.keeper_socket) as keeper:
        await keeper.start_campaign(CampaignSpec(stations=1, baseline_n=10, speed=10))
        baseline = await claim(keeper, "robot-1", WorkKind.BASELINE)
        idea, _ = [await claim(keeper, "robot-1", WorkKind.SEARCH) for _ in range(2)]
        await keeper.end_iteration("C1", baseline.iteration, IterationStatus.STOPPED, station="robot-1")
        work = await keeper.claim("C1", "robot-1")
        if work.kind is WorkKind.BASELINE:  # what was not measured is handed out again
            await keeper.end_iteration("C1", work.iteration, IterationStatus.STOPPED, station="robot-1")
        filler = Work(
            kind=WorkKind.REEVALUATE, campaign="C1", iteration="E77", station="robot-1", idea="I0", filler=True
        )
        await _claimed(keeper, filler)
        assert (await keeper.await_station("C1", "E77", ("robot-1",)))[0] == "robot-1"
        assert not (await keeper.next_episode("C1", "E77", "robot-1"))["give_way"]
        waiting = asyncio.create_task(keeper.await_station("C1", idea.iteration, ("robot-1",)))
        await asyncio.sleep(0.2)
        assert (await keeper.next_episode("C1", "E77", "robot-1"))["give_way"], "an idea is ready"
        await keeper.leave_station("C1", "E77")
        assert await asyncio.wait_for(waiting, 10) == ("robot-1", "")


async def _claimed(keeper: KeeperClient, work: Work) -> None:
    from nightlab.records import Event

    await keeper.append(
        Event(
            event_id="claimed-by-hand:1.1:x", kind="work_claimed", campaign="C1", iteration=work.iteration,
            station=work.station, wall_s=0.0, data=work.model_dump(mode="json"),
        )
    )  # fmt: skip


def test_filler_work_gives_way_to_an_idea_that_is_ready(tmp_path: Path) -> None:
    lab = scripted_lab(tmp_path / "lab")
    with running("data.keeper", lab.path):
        asyncio.run(fill(lab))
