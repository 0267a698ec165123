from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import numpy as np
import pytest

from nightlab.errors import LeaseError, SafetyError, StationError
from robots.profiles import load_profile
from robots.worlds import make_world
from robots.worlds.push_t import START

LIMITS = make_world("push_t", load_profile("nominal"), 0).spec("", 1).limits
Rig = Callable[..., AbstractAsyncContextManager[Any]]


@pytest.mark.parametrize("profile", ["nominal", "real", "hard"])
def test_home_and_move_to_pose_get_there(rig: Rig, profile: str) -> None:
    async def run() -> None:
        async with rig(speed=0.0) as r:
            await r.admin.configure(profile, 3)
            await r.admin.teleport({**START, "agent_x_px": 100.0, "agent_y_px": 100.0}, 1)
            lease = await r.station.lease("t", LIMITS)
            seen = await r.station.home(lease)
            np.testing.assert_allclose(seen.values["agent_xy"], [256, 400], atol=10)
            begin = seen.clock.station_s
            seen = await r.station.move_to_pose(lease, [50.0, 60.5])
            np.testing.assert_allclose(seen.values["agent_xy"], [50, 60.5], atol=10)
            np.testing.assert_array_equal(seen.executed["target_xy"], [50, 60.5])
            assert seen.clock.station_s - begin > 1.5, "it takes station time"

    asyncio.run(run())


@pytest.mark.parametrize("pose", [(1.0,), (1.0, 2.0, 3.0), (-1.0, 2.0), (float("nan"), 2.0)])
def test_a_pose_off_the_table_is_refused(rig: Rig, pose: tuple[float, ...]) -> None:
    async def run() -> None:
        async with rig() as r:
            lease = await r.station.lease("t", LIMITS)
            with pytest.raises(StationError, match=r"a push_t station takes \(x, y\) in px, each 0 to 512"):
                await r.station.move_to_pose(lease, pose)

    asyncio.run(run())


def test_narrowed_limits_bind_primitives_too(rig: Rig) -> None:
    async def run() -> None:
        async with rig(speed=0.0) as r:
            narrow = LIMITS.model_copy(update={"action_high": {"target_xy": (512.0, 350.0)}})
            await r.admin.teleport({**START, "agent_y_px": 100.0}, 1)
            lease = await r.station.lease("t", narrow)
            with pytest.raises(SafetyError, match="is out of bounds"):
                await r.station.home(lease)

    asyncio.run(run())


def test_what_a_push_t_station_cannot_do_says_what_it_can(rig: Rig) -> None:
    async def run() -> None:
        async with rig() as r:
            lease = await r.station.lease("t", LIMITS)
            calls = {
                "grasp": lambda: r.station.grasp(lease, width_m=0.02, force_N=5.0),
                "release": lambda: r.station.release(lease),
                "apply_force": lambda: r.station.apply_force(lease, [0] * 6, duration_s=1.0),
            }
            for name, call in calls.items():
                expected = f"a 'push_t' station has no primitive '{name}'; it has: move_to_pose, home"
                with pytest.raises(StationError, match=expected):
                    await call()
            with pytest.raises(StationError, match="no arm 'left' at a push_t station"):
                await r.station.move_to_pose(lease, [1, 2], arm="left")

    asyncio.run(run())


def test_primitives_need_the_lease(rig: Rig) -> None:
    async def run() -> None:
        async with rig() as r:
            lease = await r.station.lease("t", LIMITS)
            await lease.release()
            with pytest.raises(LeaseError, match="the station is free"):
                await r.station.home(lease)

    asyncio.run(run())


def test_joint_states_are_the_two_axes(rig: Rig) -> None:
    async def run() -> None:
        async with rig() as r:
            joints = await r.station.get_joint_states()
            assert list(joints) == ["agent_xy"]
            np.testing.assert_array_equal(joints["agent_xy"], (await r.station.observe()).values["agent_xy"])

    asyncio.run(run())
