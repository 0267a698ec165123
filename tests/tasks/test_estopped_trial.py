"""A latched e-stop in a trial: the station is parked, once, and the work waits for it."""

from __future__ import annotations

import asyncio

import pytest

from data.campaign_state import CampaignState
from nightlab.errors import EstopError, ResetError
from nightlab.records import CampaignSpec, CellConfig, EpisodeKey, SeedPool, StationPlace
from robots.station import Station
from tasks.trial import Trial
from tasks.trial_job import PolicyFiles, TrialJob
from tasks.trial_sink import MemorySink

SPEC = CampaignSpec(campaign="C1", environment="push_t")
FILES = PolicyFiles(idea="I3", code_dir="", checkpoint_dir="", sha256="")


def test_the_station_is_parked_and_the_trial_ends_as_one_that_waits() -> None:
    station = Station(CellConfig(station="robot-1", driver="simulated", config={"speed": 20}))
    try:
        sink = MemorySink()
        job = TrialJob(
            campaign=SPEC, iteration="I3", place=StationPlace(station="robot-1", address=station.address),
            keeper_socket="", verifier_socket="", candidate=FILES,
        )  # fmt: skip
        trial = Trial(job, sink, None)  # type: ignore[arg-type]
        key = EpisodeKey(campaign="C1", iteration="I3", idea="I3", station="robot-1", pool=SeedPool.SEARCH, seed=5)

        async def run() -> None:
            await trial._connect()
            await trial._stopped()
            assert sink.events == [], "nothing is latched, nothing is parked"
            station.cell.controller.estop("smoke")
            with pytest.raises(EstopError, match="e-stop: smoke"):
                await trial.station.home(trial.lease)
            for again in (trial._stopped(), trial._station_fault(key, "the stream ended")):
                with pytest.raises(
                    ResetError, match=r"robot-1 is stopped \(e-stop: smoke\).*nightlab estop robot-1 --clear"
                ):
                    await again
            await trial._close()

        asyncio.run(run())
    finally:
        station.stop(0.2)
    assert {event.kind for event in sink.events} == {"estop", "station_parked", "station_fault"}
    ids = {event.event_id for event in sink.events}
    assert len(ids) == 3, "the ledger keeps one row of each: both looks made the same ids"
    state = CampaignState.from_events(SPEC, sink.events)
    assert state.parked == {"robot-1": "e-stop: smoke"}
