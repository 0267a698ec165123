"""Opinions of cameras and what they come to; the guard band of Push-T and the frames that settle it."""

from __future__ import annotations

import asyncio
import math
from dataclasses import replace

import numpy as np
import pytest

from environments.fusion import GuardBand, Opinion, fuse
from environments.push_t import PushT, PushTVerifier, spec
from environments.push_t.verify import is_unsure
from nightlab import geometry as g
from nightlab.contracts import EpisodeEvidence, Frame
from nightlab.records import Clock, Outcome
from nightlab.testing.fake_station import FakeStation
from robots.profiles import load_profile
from robots.worlds import make_world
from robots.worlds.push_t_camera import render_table

YES, NO, PERHAPS = Opinion.SUCCESS, Opinion.FAILURE, Opinion.UNSURE
CLOCK = Clock(wall_s=0.0, station_s=0.0)


@pytest.mark.parametrize(
    ("said", "together"),
    [
        ((YES, YES), YES),
        ((YES, NO), NO),
        ((PERHAPS, NO), NO),
        ((YES, PERHAPS), PERHAPS),
        ((PERHAPS, PERHAPS), PERHAPS),
        ((), PERHAPS),
    ],
)
def test_success_needs_all_cameras(said: tuple[Opinion, ...], together: Opinion) -> None:
    assert fuse(said) is together


def test_a_guard_band_has_three_answers_and_the_last_look_two() -> None:
    band = GuardBand(0.95, 0.945, 0.955)
    assert [band.opinion(value) for value in (0.9449, 0.95, 0.9551, None)] == [NO, PERHAPS, YES, PERHAPS]
    assert [band.settled(value) for value in (0.9499, 0.95, None)] == [NO, YES, PERHAPS]
    assert GuardBand(0.95, 0.945, 0.955, 0.001).settled(0.9505) is NO
    with pytest.raises(ValueError, match=r"threshold 0\.95 lies outside its guard band 0\.96\.\.0\.97"):
        GuardBand(0.95, 0.96, 0.97)


def pose_at(target: float) -> tuple[float, float, float]:
    """The pose moved along x whose coverage is `target`."""
    low, high = 0.0, 40.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if g.coverage((256 + middle, 256.0, math.pi / 4)) > target else (low, middle)
    return 256 + low, 256.0, math.pi / 4


def evidence(*poses: tuple[float, float, float]) -> EpisodeEvidence:
    frames = [Frame("top", CLOCK, seq, render_table((60.0, 60.0), pose)) for seq, pose in enumerate(poses)]
    seen = [{"agent_xy": np.array([60.0, 60.0]), "block_pose": np.array(pose)} for pose in poses]
    return EpisodeEvidence("push_t", frames, seen)


@pytest.mark.parametrize(
    ("target", "unsure", "outcome"),
    [
        (0.944, False, "failure"),
        (0.948, True, "failure"),
        (0.9501, True, "failure"),
        (0.952, True, "success"),
        (0.957, False, "success"),
    ],
)
def test_inside_the_band_five_more_frames_settle_it(target: float, unsure: bool, outcome: str) -> None:
    pose = pose_at(target)
    assert is_unsure(evidence(*[pose] * 5)) is unsure
    verdict = PushTVerifier().verify(evidence(*[pose] * 10))
    assert (verdict.outcome, verdict.extra_frames) == (Outcome(outcome), 5 if unsure else 0)
    assert verdict.cameras == {"top": outcome}


def test_without_more_frames_an_unsure_look_is_decided_by_its_worst_frame_and_said_to_be_unsure() -> None:
    verdict = PushTVerifier().verify(evidence(*[pose_at(0.952)] * 5))
    assert (verdict.outcome, verdict.cameras, verdict.extra_frames) == (Outcome.SUCCESS, {"top": "unsure"}, 0)
    verdict = PushTVerifier().verify(evidence(*[pose_at(0.952)] * 4, pose_at(0.949)))
    assert (verdict.outcome, verdict.cameras) == (Outcome.FAILURE, {"top": "unsure"})


def test_a_t_that_slips_out_of_the_band_while_it_is_watched_is_no_success() -> None:
    verdict = PushTVerifier().verify(evidence(*[pose_at(0.952)] * 5, *[pose_at(0.93)] * 5))
    assert (verdict.outcome, verdict.reason, verdict.extra_frames) == (Outcome.FAILURE, "not_held", 5)


def test_a_t_that_was_hidden_for_a_moment_is_judged_by_the_second_look() -> None:
    what = evidence(*[g.GOAL_POSE] * 10)
    blank = what.frames[0].rgb.copy()
    blank[10:502, 10:502] = 255  # all but the walls, which tell that the camera has not moved
    frames = [replace(frame, rgb=blank) if frame.seq < 2 else frame for frame in what.frames]
    assert is_unsure(replace(what, frames=frames[:5], observations=what.observations[:5]))
    assert PushTVerifier().verify(replace(what, frames=frames)).outcome is Outcome.SUCCESS
    hidden = [replace(frame, rgb=blank) for frame in what.frames]
    verdict = PushTVerifier().verify(replace(what, frames=hidden))
    assert (verdict.outcome, verdict.reason, verdict.cameras) == (Outcome.FAILURE, "hidden", {"top": "unsure"})


@pytest.mark.parametrize(("target", "frames"), [(0.98, 5), (0.951, 10), (0.6, 5)])
def test_the_environment_takes_more_frames_only_when_the_first_look_is_unsure(target: float, frames: int) -> None:
    x, y, angle = pose_at(target)
    start = {"agent_x_px": 450.0, "agent_y_px": 60.0, "block_x_px": x, "block_y_px": y, "block_angle_rad": angle}

    async def body() -> EpisodeEvidence:
        where, environment = FakeStation(make_world("push_t", load_profile("nominal"), 7)), PushT()
        lease = await where.lease("test", environment.limits)
        await where.teleport(start, 1)
        async with where.control(lease, "test") as session:
            return await environment.evidence(where, session)

    seen = asyncio.run(body())
    assert (len(seen.frames), len(seen.observations)) == (frames, frames)
    assert spec.HELD_FRAMES + spec.EXTRA_FRAMES == 10
