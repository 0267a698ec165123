from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Any

import cv2
import numpy as np
import pytest

from nightlab.contracts import World
from nightlab.errors import LeaseError, SafetyError, StationError
from nightlab.records import StationSpec
from robots.client import StationClient
from robots.profiles import load_profile
from robots.worlds import make_world
from robots.worlds.push_t import START

LIMITS = make_world("push_t", load_profile("nominal"), 0).spec("", 1).limits
Rig = Callable[..., AbstractAsyncContextManager[Any]]


@pytest.fixture(params=[True, False], ids=["socket", "grpc"])
def rig(rig: Rig, request: pytest.FixtureRequest) -> Rig:
    """What carries the stream makes no difference."""
    return partial(rig, local=request.param)


class Wrapped:
    """A Push-T world, changed."""

    def __init__(self) -> None:
        self.world = make_world("push_t", load_profile("nominal"), 1)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.world, name)


class Slow(Wrapped):
    """At 2 Hz an action is late after 0.5 s: wide margins for a busy host."""

    def spec(self, station_id: str, speed: float) -> StationSpec:
        return self.world.spec(station_id, speed).model_copy(update={"rate_hz": 2.0})


def slow(profile: str, seed: int) -> World:
    return Slow()  # type: ignore[return-value]


def to(x: float, y: float) -> dict[str, np.ndarray]:
    return {"target_xy": np.array([x, y])}


def test_speed_is_kept_and_stats_come_from_the_server(rig: Rig) -> None:
    async def run() -> None:
        async with rig(speed=20.0) as r:
            lease = await r.station.lease("t", LIMITS)
            async with r.station.control(lease, "episode-1") as session:
                begin = time.monotonic()
                for index in range(60):
                    await session.step([to(256 + index, 300)])
                wall_s = time.monotonic() - begin
                assert (await r.station.stats()).label == "episode-1"
            stats = session.stats
            assert (stats.steps, stats.late) == (60, 0)
            assert 0.28 < wall_s < 1.5, "60 periods of 5 ms"
            assert stats.control_wall_s == pytest.approx(wall_s, abs=0.1)
            assert stats.end.station_s - stats.begin.station_s == pytest.approx(6.0, abs=0.11)
            assert (await r.station.stats()).periods == 60

    asyncio.run(run())


def test_a_delay_is_made_up_for(rig: Rig) -> None:
    async def run() -> None:
        async with rig(speed=10.0) as r:
            lease = await r.station.lease("t", LIMITS)
            async with r.station.control(lease, "") as session:
                begin = time.monotonic()
                for index in range(40):
                    if index == 5:
                        await asyncio.sleep(0.08)  # 8 periods of 10 ms, and still not late
                    await session.step([to(256, 300)])
                wall_s = time.monotonic() - begin
                assert 0.38 < wall_s < 0.48, "0.4 s of periods, the 0.08 s of delay within them"
            assert session.stats.late == 0

    asyncio.run(run())


def test_a_late_action_is_replaced_by_a_hold_and_flagged(rig: Rig) -> None:
    async def run() -> None:
        async with rig(speed=10.0, make=slow) as r:
            lease = await r.station.lease("t", LIMITS)
            async with r.station.control(lease, "") as session:
                (first,) = await session.step([to(256, 350)])
                await asyncio.sleep(0.75)
                (late,) = await session.step([to(256, 300)])
                assert late.flags.late
                assert late.flags.reason == "no action in time: held"
                assert late.seq == first.seq + 1
                np.testing.assert_array_equal(late.executed["target_xy"], [256, 350])
                (after,) = await session.step([to(256, 300)])
                assert not after.flags.late
                np.testing.assert_array_equal(after.executed["target_xy"], [256, 300])
            assert (session.stats.steps, session.stats.late) == (3, 1)

    asyncio.run(run())


def test_a_late_chunk_loses_only_its_first_action(rig: Rig) -> None:
    async def run() -> None:
        async with rig(speed=10.0, make=slow) as r:
            lease = await r.station.lease("t", LIMITS)
            async with r.station.control(lease, "") as session:
                await session.step([to(256, 350)])
                await asyncio.sleep(0.75)
                seen = await session.step([to(256, 340), to(256, 330), to(256, 320)])
            assert [o.flags.late for o in seen] == [True, False, False]
            assert [o.executed["target_xy"][1] for o in seen] == [350, 330, 320]

    asyncio.run(run())


def test_three_late_periods_stop_the_stream_and_hold_goes_on(rig: Rig) -> None:
    async def run() -> None:
        async with rig(speed=10.0, make=slow) as r:
            lease = await r.station.lease("t", LIMITS)
            async with r.station.control(lease, "") as session:
                await session.step([to(256, 350)])
                await asyncio.sleep(2.0)
                for _ in range(2):
                    with pytest.raises(SafetyError, match=r"3 control periods without an action.*only hold"):
                        await session.step([to(256, 300)])
                held = await session.hold()
                np.testing.assert_array_equal(held.executed["target_xy"], [256, 350])
                assert session.stats.late == 3
                with pytest.raises(SafetyError, match="3 control periods"):
                    await session.step([to(256, 300)])

    asyncio.run(run())


def test_whoever_holds_is_not_late(rig: Rig) -> None:
    async def run() -> None:
        async with rig(speed=10.0, make=slow) as r:
            lease = await r.station.lease("t", LIMITS)
            async with r.station.control(lease, "") as session:
                await asyncio.sleep(0.8)
                await session.hold()
                await asyncio.sleep(0.8)
                (seen,) = await session.step([to(256, 390)])
                assert not seen.flags.late
            assert session.stats.late == 0

    asyncio.run(run())


def test_film_and_capture(rig: Rig) -> None:
    async def run() -> None:
        async with rig() as r:
            await r.admin.teleport(START, 1)
            lease = await r.station.lease("t", LIMITS)
            async with r.station.control(lease, "") as session:
                (plain,) = await session.step([to(256, 390)])
                (filmed,) = await session.step([to(256, 390)], film=True)
                assert plain.image_jpeg is None
                jpeg = filmed.image_jpeg
                assert jpeg is not None
                await session.hold()
                frame = await r.station.capture("top")
                again = await r.station.capture("top")
            picture = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR_RGB)
            assert picture.shape == (256, 256, 3)
            small = cv2.resize(frame.rgb, (256, 256), interpolation=cv2.INTER_AREA).astype(float)
            assert np.abs(picture - small).mean() < 3.0, "RGB, the same scene"
            assert (frame.rgb.shape, again.seq - frame.seq) == ((512, 512, 3), 1)
            np.testing.assert_array_equal(frame.rgb, r.driver.render("top"))

    asyncio.run(run())


def test_one_stream_at_a_time_and_none_moves_the_world_beside_it(rig: Rig) -> None:
    async def run() -> None:
        async with rig() as r:
            lease = await r.station.lease("t", LIMITS)
            async with r.station.control(lease, "mine") as session:
                await session.hold()
                open_ = r"a control stream is open \('mine'\)"
                with pytest.raises(StationError, match=open_):
                    async with r.station.control(lease, "other"):
                        pass
                for call in (r.station.home(lease), r.admin.teleport(START, 1), r.admin.configure("real", 3)):
                    with pytest.raises(StationError, match=open_):
                        await call
                await session.hold()
            await r.admin.teleport(START, 1)
            with pytest.raises(StationError, match="this control stream has ended"):
                await session.hold()

    asyncio.run(run())


def test_estop_interrupts_a_chunk_and_answers_while_the_world_is_busy(rig: Rig) -> None:
    async def run() -> None:
        async with rig(speed=1.0) as r:
            other = await StationClient.connect(r.station.address)
            lease = await r.station.lease("t", LIMITS)
            async with r.station.control(lease, "") as session:
                running = asyncio.create_task(session.step([to(256, 400)] * 64))
                await asyncio.sleep(0.25)
                begin = time.monotonic()
                await other.estop("smoke")
                answered_s = time.monotonic() - begin
                with pytest.raises(StationError, match=r"e-stop: smoke\. The robot holds"):
                    await running
                stopped_s = time.monotonic() - begin
            assert answered_s < 0.09
            assert stopped_s < 0.5, "not after the 6.4 s of the chunk"
            assert (await other.stats()).estop == "smoke"
            with pytest.raises(StationError, match="e-stop: smoke"):
                await r.station.home(lease)
            await other.clear_estop()
            await r.station.home(lease)
            await other.close()

    asyncio.run(run())


class Broken(Wrapped):
    """Its third step fails."""

    steps = 0

    def step(self, action: Any) -> None:
        self.steps += 1
        if self.steps == 3:
            raise RuntimeError("motor 4 does not answer")
        self.world.step(action)


def test_a_fault_of_the_driver_ends_the_stream_and_not_the_server(rig: Rig) -> None:
    async def run() -> None:
        def make(profile: str, seed: int) -> World:
            return Broken()  # type: ignore[return-value]

        async with rig(make=make) as r:
            lease = await r.station.lease("t", LIMITS)
            async with r.station.control(lease, "") as session:
                with pytest.raises(StationError, match="station fault: RuntimeError: motor 4 does not answer"):
                    await session.step([to(256, 400)] * 5)
            async with r.station.control(lease, "") as session:
                await session.hold()
            assert (await r.station.stats()).faults == 1

    asyncio.run(run())


def test_a_lapsed_lease_ends_the_stream_and_the_robot_goes_home(rig: Rig) -> None:
    async def run() -> None:
        async with rig() as r:
            await r.admin.teleport({**START, "agent_x_px": 100.0}, 1)
            lease = await r.station.lease("silent", LIMITS, ttl_s=0.3)
            lease._heart.cancel()
            async with r.station.control(lease, "") as session:
                await session.hold()
                await asyncio.sleep(1.2)
                with pytest.raises((LeaseError, StationError), match=r"holds no lease|no station answers|has ended"):
                    await session.hold()
            for _ in range(50):
                if np.allclose((await r.station.observe()).values["agent_xy"], [256, 400], atol=3):
                    break
                await asyncio.sleep(0.1)
            else:
                pytest.fail("it did not go home")
            assert (await r.station.stats()).leases_lapsed == 1

    asyncio.run(run())


def test_a_heartbeat_keeps_the_lease(rig: Rig) -> None:
    async def run() -> None:
        async with rig() as r:
            lease = await r.station.lease("alive", LIMITS, ttl_s=0.3)
            await asyncio.sleep(1.0)
            assert (await r.station.stats()).lease_holder == "alive"
            with pytest.raises(LeaseError, match=r"no lease for 'other' within 0.2 s: the station is held by 'alive'"):
                await r.station.lease("other", LIMITS, wait_s=0.2)
            await lease.release()
            await lease.release()
            assert (await r.station.stats()).lease_holder == ""

    asyncio.run(run())
