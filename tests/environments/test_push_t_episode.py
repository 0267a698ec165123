"""Reset, live check and evidence of Push-T over a scripted station: what is proved, flagged, counted and refused."""

from __future__ import annotations

import asyncio
import math
import re

import numpy as np
import pytest

from environments.push_t import PushT, PushTVerifier
from environments.push_t import reset as push_t_reset
from environments.push_t.pushing import middle_of
from environments.push_t.spec import NEAR_START_px
from environments.push_t.start import START_KEYS
from nightlab import geometry as g
from nightlab.contracts import StepResult
from nightlab.errors import SafetyError, StationError
from nightlab.records import Outcome, ResetReport, Verdict
from nightlab.testing.fake_station import FakeStation
from robots.profiles import load_profile
from robots.worlds import make_world

SOLVED = {
    "agent_x_px": 450.0, "agent_y_px": 60.0, "block_x_px": 256.0, "block_y_px": 256.0, "block_angle_rad": math.pi / 4,
}  # fmt: skip


def station(profile: str = "nominal", seed: int = 7, *, simulated: bool = True) -> FakeStation:
    return FakeStation(make_world("push_t", load_profile(profile), seed), simulated=simulated)


async def reset(where: FakeStation, seed: int = 3, *, admin: bool = True) -> ResetReport:
    environment = PushT()
    lease = await where.lease("test", environment.limits)
    return await environment.reset(where, lease, seed, admin=where if admin else None)


def test_reset_is_proved_by_the_sensors() -> None:
    where = station()
    report = asyncio.run(reset(where))
    truth = where.world.truth()
    assert report.success
    assert (report.attempts, report.simulator_shortcut) == (1, True)
    assert report.distance < 1e-6
    assert all(truth[key] == pytest.approx(value) for key, value in report.achieved.items())


def test_a_teleport_that_misses_is_tried_again_then_reported() -> None:
    where = station()
    where.faults.teleport_misses = 2
    assert asyncio.run(reset(where)).attempts == 3
    where = station()
    where.faults.teleport_misses = 9
    report = asyncio.run(reset(where))
    assert not report.success
    assert report.attempts == 3
    assert "start missed by" in report.reason
    assert "the simulator did not obey" in report.reason


@pytest.mark.parametrize("profile", ["real", "hard"])
def test_reset_holds_under_noise_because_the_camera_decides(profile: str) -> None:
    for seed in range(6):
        where = station(profile, seed=seed)
        report = asyncio.run(reset(where, seed=100 + seed))
        assert report.success, report
        assert report.attempts == 1


def test_a_real_station_refuses_the_simulators_shortcut() -> None:
    with pytest.raises(StationError, match=r"teleport asked of station 'fake-1', which is real; call reset without"):
        asyncio.run(reset(station(simulated=False)))


@pytest.mark.parametrize("profile", ["nominal", "real", "hard"])
def test_without_a_simulator_the_disc_pushes_the_t_near_the_start(profile: str) -> None:
    where = station(profile, simulated=False)
    for seed in range(4):
        report = asyncio.run(reset(where, seed, admin=False))
        where.holder = None
        assert (report.success, report.simulator_shortcut) == (True, False), report
        pose, wanted = ([start[key] for key in START_KEYS[2:]] for start in (report.achieved, report.asked))
        assert math.dist(middle_of(pose), middle_of(wanted)) <= NEAR_START_px
        truth = where.world.truth()
        assert g.keypoint_error(pose, [truth[key] for key in START_KEYS[2:]]) < 12, "the start is what was achieved"
        assert report.distance > 3, "and says that it is not what was asked"


def test_a_t_that_cannot_be_pushed_is_placed_by_a_person(monkeypatch: pytest.MonkeyPatch) -> None:
    async def nothing(*_: object) -> None: ...

    monkeypatch.setattr(push_t_reset, "push_near", nothing)
    report = asyncio.run(reset(station(simulated=False), admin=False))
    assert (report.success, report.attempts) == (False, 3)
    assert re.search(
        r"the T is \d+ px from where it was asked, 40 px allowed; place the T's middle at \(", report.reason
    )


async def held(where: FakeStation, start: dict[str, float], steps: int) -> tuple[list[StepResult], Verdict]:
    environment = PushT()
    lease = await where.lease("test", environment.limits)
    await environment.reset(where, lease, 3, admin=where)
    await where.teleport(start, 3)
    async with where.control(lease, "test") as session:
        results = [await environment.step(session, where.world.hold_action()) for _ in range(steps)]
        evidence = await environment.evidence(where, session)
    assert evidence.start["block_x_px"] != start["block_x_px"]
    return results, PushTVerifier().verify(evidence)


def test_the_live_check_wants_five_frames_in_a_row_and_the_verifier_confirms() -> None:
    results, verdict = asyncio.run(held(station(), SOLVED, 6))
    assert [result.terminated for result in results] == [False] * 4 + [True] * 2
    assert all(result.reward > 0.999 for result in results)
    assert verdict.outcome is Outcome.SUCCESS


def test_the_live_check_is_stricter_than_the_verifier() -> None:
    start = {**SOLVED, "block_x_px": 257.0}
    while g.coverage((start["block_x_px"], 256.0, math.pi / 4)) > 0.9545:
        start["block_x_px"] += 0.01
    results, verdict = asyncio.run(held(station(), start, 8))
    assert not any(result.terminated for result in results)
    assert verdict.outcome is Outcome.SUCCESS
    assert 0.95 < verdict.score < 0.955


async def one_step(action: dict[str, np.ndarray]) -> StepResult:
    where, environment = station(), PushT()
    lease = await where.lease("test", environment.limits)
    await environment.reset(where, lease, 3, admin=where)
    async with where.control(lease, "test") as session:
        return await environment.step(session, action)


def test_limits_refuse_and_clamp() -> None:
    with pytest.raises(SafetyError, match=r"action target_xy = \[nan, 1\.0\] is outside"):
        asyncio.run(one_step({"target_xy": np.array([np.nan, 1.0])}))
    with pytest.raises(SafetyError, match=r"is outside \[0\.0, 0\.0\]\.\.\[512\.0, 512\.0\]"):
        asyncio.run(one_step({"target_xy": np.array([600.0, 1.0])}))
    result = asyncio.run(one_step({"target_xy": np.array([512.0, 512.0])}))
    assert result.observation.flags.clamped
    assert np.all(result.observation.executed["target_xy"] < 512.0)


@pytest.mark.parametrize(
    ("fault", "reason"),
    [("black_camera", "camera_black"), ("frozen_camera", "camera_frozen"), ("stale_pictures", "camera_stale")],
)
def test_camera_faults_leave_the_episode_unscored(fault: str, reason: str) -> None:
    async def run() -> Verdict:
        where, environment = station(), PushT()
        lease = await where.lease("test", environment.limits)
        await environment.reset(where, lease, 3, admin=where)
        await where.capture("top")
        setattr(where.faults, fault, True)
        async with where.control(lease, "test") as session:
            away = 60.0 if where.world.observe()["agent_xy"][0] > 256 else 450.0
            for _ in range(10):
                target = where.world.hold_action()["target_xy"]
                await environment.step(
                    session, {"target_xy": np.array([target[0] + np.sign(away - target[0]) * 30, target[1]])}
                )
            return PushTVerifier().verify(await environment.evidence(where, session))

    verdict = asyncio.run(run())
    assert (verdict.outcome, verdict.reason) == (Outcome.UNSCORED, reason)


def test_a_new_episode_forgets_the_one_before() -> None:
    async def run() -> tuple[bool, bool]:
        where, environment = station(), PushT()
        lease = await where.lease("test", environment.limits)
        for _ in range(2):
            await environment.reset(where, lease, 3, admin=where)
            await where.teleport(SOLVED, 3)
            async with where.control(lease, "test") as session:
                last = [await environment.step(session, where.world.hold_action()) for _ in range(4)][-1]
        return last.terminated, last.truncated

    assert asyncio.run(run()) == (False, False)
