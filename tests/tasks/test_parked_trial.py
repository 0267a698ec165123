"""A reset that used up its attempts: the episode does not run, and the trial parks the station with pictures."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Mapping

import pytest

from nightlab.contracts import Lease, SimulatorAdmin, Station
from nightlab.errors import ResetError
from nightlab.records import CampaignSpec, EpisodeKey, ResetReport, SeedPool, StationPlace
from nightlab.testing.fake_station import FakeStation
from robots.profiles import load_profile
from robots.worlds import make_world
from tasks.episode import ResetFailed, run_episode
from tasks.rollout import KINDS
from tasks.trial import Trial
from tasks.trial_job import PolicyFiles, TrialJob
from tasks.trial_sink import MemorySink

KEY = EpisodeKey(campaign="C1", iteration="I3", idea="I3", station="robot-1", pool=SeedPool.SEARCH, seed=5)
FILES = PolicyFiles(idea="I3", code_dir="", checkpoint_dir="", sha256="")


class LostPin:
    """An environment whose reset gives up; it has nothing else."""

    reset_jpeg = (b"\xff\xd8 before", b"\xff\xd8 after")

    async def reset(
        self, station: Station, lease: Lease, seed: int, *, admin: SimulatorAdmin | None = None
    ) -> ResetReport:
        return ResetReport(
            success=False, attempts=3, duration_s=40.0, asked={"hole": 1.0}, achieved={}, distance=1.0,
            reason="no hand holds the pin and no camera sees it", frames=("before top", "after top"),
        )  # fmt: skip


def failed() -> ResetFailed:
    async def main() -> None:
        station = FakeStation(make_world("push_t", load_profile("nominal"), 1))
        lease = await station.lease("test", (await station.describe()).limits)
        spec = await station.describe()
        await run_episode(LostPin(), station, lease, None, None, spec, KEY, film=False)  # type: ignore[arg-type]

    with pytest.raises(ResetFailed, match="fake-1: reset failed after 3 attempts: no hand holds the pin") as caught:
        asyncio.run(main())
    return caught.value


def test_the_episode_does_not_run_and_the_error_carries_report_and_pictures() -> None:
    error = failed()
    assert isinstance(error, ResetError)
    assert error.report.attempts == 3
    assert error.pictures == list(LostPin.reset_jpeg)


def test_the_trial_parks_the_station_with_what_the_cameras_saw() -> None:
    sink = MemorySink()
    job = TrialJob(
        campaign=CampaignSpec(campaign="C1", environment="push_t"), iteration="I3",
        place=StationPlace(station="robot-1", address="unix:/nowhere"), keeper_socket="", verifier_socket="",
        candidate=FILES,
    )  # fmt: skip
    trial = Trial(job, sink, None)  # type: ignore[arg-type]
    asyncio.run(trial._park(KEY, failed()))
    (event,) = sink.events
    assert (event.kind, event.campaign, event.iteration, event.station) == ("station_parked", "C1", "I3", "robot-1")
    data: Mapping[str, object] = event.data
    assert "no camera sees it" in str(data["reason"])
    assert data["fix"] == "Look at the cell and bring it in order, then: nightlab unpark robot-1"
    pictures = data["pictures_jpeg_base64"]
    assert isinstance(pictures, list)
    assert [base64.b64decode(picture) for picture in pictures] == list(LostPin.reset_jpeg)
    assert ResetReport.model_validate(data["reset"]).frames == ("before top", "after top")


def test_a_flow_gets_it_as_the_error_that_parks() -> None:
    assert KINDS["ResetFailed"] is ResetError
    assert KINDS["ResetError"] is ResetError
