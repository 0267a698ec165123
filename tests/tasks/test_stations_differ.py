"""At real stations, as on profiles other than nominal, a trial that has begun stays where it is."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from data.ledger import SqliteLedger
from data.testing import scripted_lab, scripted_record
from nightlab.errors import StationError
from nightlab.records import CampaignSpec, EpisodeKey, Event, EventKind, SeedPool, StationPlace
from tasks import at_robot
from tasks.at_robot import AtRobot
from tasks.context import LabContext
from tasks.rollout import _places
from tasks.trial_job import PolicyFiles, TrialJob
from tasks.trial_sink import MemorySink

PLACES = tuple(StationPlace(station=f"robot-{n}", address=f"127.0.0.1:{n}") for n in (1, 2))
FILES = PolicyFiles(idea="I3", code_dir="", checkpoint_dir="", sha256="")


def spec_of(real_stations: bool) -> CampaignSpec:
    return CampaignSpec(campaign="C1", environment="push_t", real_stations=real_stations)


@pytest.mark.parametrize(("real_stations", "places"), [(False, ["robot-1", "robot-2"]), (True, ["robot-2"])])
def test_a_trial_that_has_begun_at_a_real_station_goes_on_there(
    tmp_path: Path, real_stations: bool, places: list[str]
) -> None:
    lab = scripted_lab(tmp_path / "lab")
    ledger = SqliteLedger(lab.ledger_path)
    lab.state_path.write_text(json.dumps({"stations": [place.model_dump(mode="json") for place in PLACES]}))
    context, spec = LabContext(lab, MemorySink(), ledger), spec_of(real_stations)  # type: ignore[arg-type]

    def write(kind: EventKind, data: dict[str, object]) -> None:
        ledger.append(Event(event_id=kind, kind=kind, campaign="C1", station="robot-2", wall_s=1.0, data=data))

    def where() -> list[str]:
        return [place.station for place in _places(context, spec, "I3", "robot-1", idea_trial=True)]

    write("campaign_started", spec.model_dump(mode="json"))
    assert where() == ["robot-1", "robot-2"], "it has not begun"
    write("episode", scripted_record(5, iteration="I3", idea="I3", station="robot-2").model_dump(mode="json"))
    assert where() == places


class Gone(AtRobot):
    """A trial whose station has gone away and is given the other one."""

    moved = ""

    async def _connect(self) -> None:
        raise StationError("no station answers")

    async def _disconnect(self) -> None:
        pass

    async def _give_back(self) -> None:
        pass

    async def _take(self) -> None:
        self.moved = next(place.station for place in self.job.places if place.station not in self._avoided)


@pytest.mark.parametrize("real_stations", [False, True])
def test_a_trial_leaves_a_real_station_that_has_gone_to_a_later_start(
    monkeypatch: pytest.MonkeyPatch, real_stations: bool
) -> None:
    monkeypatch.setattr(at_robot, "STATION_WAIT_S", 0.0)
    job = TrialJob(
        campaign=spec_of(real_stations), iteration="I3", place=PLACES[0], places=PLACES, keeper_socket="",
        verifier_socket="", candidate=FILES,
    )  # fmt: skip
    trial = Gone(job, MemorySink())
    key = EpisodeKey(campaign="C1", iteration="I3", idea="I3", station="robot-1", pool=SeedPool.SEARCH, seed=5)
    fault = trial._station_fault(key, "the stream ended")
    if real_stations:
        with pytest.raises(StationError, match="no station answers"):
            asyncio.run(fault)
    else:
        asyncio.run(fault)
    assert trial.moved == ("" if real_stations else "robot-2")
