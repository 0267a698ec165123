"""A station whose reset gave up: it gets no work until a person says so, and the others go on with what it held."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from commands.main import app
from commands.unpark import parked_stations
from data.campaign_state import CampaignState
from data.lab import Lab
from data.ledger import SqliteLedger
from data.schedule import next_work
from data.synthetic import START_S, SyntheticCampaign
from data.testing import running, scripted_lab
from nightlab.records import CampaignSpec, Event, EventKind, Outcome, Proposal, ProposalStatus, SeedPool, Work, WorkKind

PARKED = {"reason": "robot-1: reset failed after 3 attempts: the pin lies"}


class Bench:
    """Two stations of a campaign, moved by hand through real events."""

    def __init__(self) -> None:
        spec = CampaignSpec.model_validate({"campaign": "C1", "budget_s": 6000, "environment": "pin_insertion"})
        self.campaign = SyntheticCampaign(spec)
        self.state: CampaignState = self.campaign.state
        self.emit("campaign_started", data=spec.model_dump(mode="json"))
        self.campaign._commit("I0", None, Proposal(status=ProposalStatus.OK, researcher="template"))

    def emit(
        self, kind: EventKind, iteration: str = "", station: str = "", data: dict[str, object] | None = None
    ) -> None:
        self.campaign._emit(kind, iteration, station, data or {})

    def claim(self, station: str) -> Work:
        work = next_work(self.state, station, START_S, self.campaign._draw)
        if work.kind not in (WorkKind.WAIT, WorkKind.STOP):
            self.emit("work_claimed", work.iteration, station, work.model_dump(mode="json"))
        return work

    def baseline(self) -> None:
        for station in ("robot-1", "robot-2"):
            work = self.claim(station)
            for seed in work.seeds:
                failed = (Outcome.FAILURE, 0.3, 100, "shallow")
                self.campaign._record(work, work.idea, SeedPool.SEARCH, seed, 0, failed)
            self.emit("iteration_ended", work.iteration, station, {"status": "evaluated", "detail": ""})


def test_a_parked_station_waits_and_says_why() -> None:
    bench = Bench()
    bench.emit("station_parked", "I0", "robot-1", dict(PARKED))
    work = bench.claim("robot-1")
    assert work.kind is WorkKind.WAIT
    assert work.reason == f"parked: {PARKED['reason']}"
    assert work.wait_s >= 1.0
    assert bench.claim("robot-2").kind is WorkKind.BASELINE


def test_the_others_take_over_its_seeds_and_it_gets_its_work_back() -> None:
    bench = Bench()
    mine = bench.claim("robot-1")
    bench.emit("station_parked", mine.iteration, "robot-1", dict(PARKED))
    other = bench.claim("robot-2")
    assert other.kind is WorkKind.BASELINE
    assert set(other.seeds) == set(mine.seeds), "the seeds that the parked station held are handed out again"
    bench.emit("station_unparked", station="robot-1")
    again = bench.claim("robot-1")
    assert (again.kind, again.iteration, again.seeds) == (mine.kind, mine.iteration, mine.seeds)


def test_a_held_out_chunk_of_a_parked_station_goes_to_another() -> None:
    bench = Bench()
    bench.baseline()
    chunk = Work(
        kind=WorkKind.HELD_OUT, campaign="C1", iteration="E9", station="robot-1", idea="I0", pool=SeedPool.HELD_OUT,
        seeds=(101, 102, 103, 104), draw=1, planned_n=4, final=True,
    )  # fmt: skip
    bench.emit("work_claimed", "E9", "robot-1", chunk.model_dump(mode="json"))
    bench.emit("station_parked", "E9", "robot-1", dict(PARKED))
    work = next_work(bench.state, "robot-2", START_S, bench.campaign._draw)
    assert work.kind is WorkKind.HELD_OUT
    assert work.seeds == chunk.seeds


def test_unpark_writes_it_down_and_refuses_stations_that_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lab = scripted_lab(tmp_path / "lab")
    spec = CampaignSpec(campaign="C1", environment="push_t")
    with SqliteLedgerWriter(lab) as ledger:
        ledger.add("campaign_started", "", spec.model_dump(mode="json"))
        ledger.add("station_parked", "robot-1", dict(PARKED))
    with running("data.keeper", lab.path):
        assert parked_stations(lab) == {"robot-1": ("C1", PARKED["reason"])}
        with pytest.raises(SystemExit) as ended:
            app(["unpark", "robot-1", "--lab", str(lab.path), "--note", "put it back", "--json"])
        assert ended.value.code == 0
        told = json.loads(capsys.readouterr().out)
        assert (told["station"], told["campaign"], told["note"]) == ("robot-1", "C1", "put it back")
        assert not told["scene_laid_anew"], "the lab is down: there is no scene"
        assert parked_stations(lab) == {}
        with pytest.raises(SystemExit):
            app(["unpark", "robot-1", "--lab", str(lab.path)])
        assert "unknown parked station 'robot-1'; there are: none. Try: nightlab status" in capsys.readouterr().err


class SqliteLedgerWriter:
    """Appends events to a lab's ledger directly."""

    def __init__(self, lab: Lab) -> None:
        self._ledger = SqliteLedger(lab.ledger_path)

    def __enter__(self) -> SqliteLedgerWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self._ledger.close()

    def add(self, kind: EventKind, station: str, data: dict[str, object]) -> None:
        """Append one event of campaign C1."""
        now_s = time.time()
        self._ledger.append(
            Event(event_id=f"{kind}:{now_s}", kind=kind, campaign="C1", station=station, wall_s=now_s, data=data)
        )
