"""A trial's robot does not wait for the verifier, and an episode that is no longer needed is broken off."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from data.judge import SearchVerdict
from nightlab.errors import StationError
from nightlab.records import CampaignSpec, SeedPool, StationPlace
from tasks.at_robot import TrialStopped
from tasks.trial import Trial
from tasks.trial_job import PolicyFiles, TrialJob
from tasks.trial_sink import MemorySink

EPISODE_S, JUDGING_S = 0.02, 0.03
FILES = PolicyFiles(idea="I1", code_dir="", checkpoint_dir="", sha256="")


def place(name: str) -> StationPlace:
    return StationPlace(station=name, address="")


class QuickTrial(Trial):
    """Episodes are naps; judging one takes longer than running it."""

    def __init__(self, sink: Any, **fields: Any) -> None:
        job = TrialJob(
            campaign=CampaignSpec(campaign="C1"), iteration="I1", place=place("robot-1"), keeper_socket="",
            verifier_socket="", candidate=FILES, **fields,
        )  # fmt: skip
        super().__init__(job, sink, cast(Any, None))
        self.begun: list[int] = []
        self.broken_off: list[int] = []
        self.judged: list[int] = []
        self.idle_s = 0.0
        self._ended_s: float | None = None
        self.fails_at: int | None = None
        self.taken: list[str] = []

    async def _pair(self, plan: Any, incumbent: PolicyFiles, pool: SeedPool, seed: int) -> None:
        now = asyncio.get_running_loop().time
        self.idle_s += now() - self._ended_s if self._ended_s is not None else 0.0
        self.begun.append(seed)
        if seed == self.fails_at:
            raise StationError("gone")
        try:
            await asyncio.sleep(EPISODE_S)
        except asyncio.CancelledError:
            self.broken_off.append(seed)
            raise
        self._ended_s = now()
        before = self._finishing[-1] if self._finishing else None
        self._finishing.append(asyncio.create_task(self._finish(cast(Any, seed), FILES, before)))

    async def _store(self, raw: Any, files: PolicyFiles, before: asyncio.Task[None] | None) -> None:
        await asyncio.sleep(JUDGING_S)
        if before is not None:
            await asyncio.wait({before})
        self.judged.append(raw)

    async def _connect(self) -> None:
        self.taken.append(self.place.station)

    async def _disconnect(self) -> None:
        self.taken.append(f"-{self.place.station}")


def until(trial: QuickTrial, enough: int, seeds: int = 8) -> SearchVerdict:
    def verdict() -> SearchVerdict:
        return SearchVerdict.CONTINUE if len(trial.judged) < enough else SearchVerdict.REVERT

    async def body() -> SearchVerdict:
        return await trial._until(cast(Any, None), FILES, SeedPool.SEARCH, range(seeds), verdict)

    return asyncio.run(asyncio.wait_for(body(), 10))


def test_the_next_episode_runs_while_the_last_is_judged() -> None:
    trial = QuickTrial(MemorySink())
    assert until(trial, enough=99) is SearchVerdict.CONTINUE
    assert trial.begun == trial.judged == list(range(8)), "all are judged in their order before anything is said"
    assert trial.idle_s < JUDGING_S, "the robot waited for no verdict"


def test_a_verdict_breaks_off_the_episode_that_has_begun() -> None:
    trial = QuickTrial(MemorySink())
    assert until(trial, enough=3) is SearchVerdict.REVERT
    assert trial.broken_off == [trial.begun[-1]]
    assert trial.judged == trial.begun[:-1], "what was finished is judged and counted, what was broken off is not"
    assert len(trial.begun) < 8


def test_a_fault_of_the_station_is_the_trials_error() -> None:
    trial = QuickTrial(MemorySink())
    trial.fails_at = 2
    with pytest.raises(StationError, match="gone"):
        until(trial, enough=99)


class Keeper(MemorySink):
    """Hands out robots as scripted."""

    def __init__(self, stations: list[tuple[str, str]], answers: list[dict[str, Any]]) -> None:
        super().__init__()
        self.stations, self.answers, self.calls = stations, answers, list[str]()

    async def await_station(self, campaign: str, iteration: str, stations: Any) -> tuple[str, str]:
        self.calls.append(f"wait for {','.join(stations)}")
        return self.stations.pop(0)

    async def leave_station(self, campaign: str, iteration: str) -> None:
        self.calls.append("leave")

    async def next_episode(self, campaign: str, iteration: str, station: str) -> dict[str, Any]:
        self.calls.append(f"next at {station}")
        return self.answers.pop(0)


def answer(**fields: Any) -> dict[str, Any]:
    return {"stop": "", "parked": "", "give_way": False, **fields}


def test_it_runs_where_the_keeper_says_and_filler_gives_way() -> None:
    keeper = Keeper([("robot-2", ""), ("robot-1", ""), ("", "superseded")], [answer(), answer(give_way=True), answer()])
    trial = QuickTrial(keeper, places=(place("robot-1"), place("robot-2")))

    async def body() -> None:
        await trial._take()
        await trial._ask()
        await trial._ask()
        await trial._give_back()
        with pytest.raises(TrialStopped, match="superseded"):
            await trial._take()

    asyncio.run(body())
    assert trial.taken == ["robot-2", "-robot-2", "robot-1", "-robot-1"]
    assert keeper.calls == [
        "wait for robot-1,robot-2", "next at robot-2", "next at robot-2", "leave", "wait for robot-1,robot-2",
        "next at robot-1", "leave", "wait for robot-1,robot-2",
    ]  # fmt: skip
