"""A bench over gRPC keeps the contract of a station, and sends depth with its pictures."""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager

import numpy as np

from nightlab import pin_box
from nightlab.contracts import Station
from nightlab.testing.station import StationContract
from robots.client import StationClient
from robots.drivers.simulated import SimulatedDriver
from robots.profiles import load_profile
from robots.served import served
from robots.worlds import make_world


def bench() -> AbstractAsyncContextManager[StationClient]:
    driver = SimulatedDriver(
        lambda profile, seed: make_world("yam_bench", load_profile(profile, "yam_bench"), seed),
        "robot-1",
        "nominal",
        1,
        20.0,
    )
    return served(driver)


class TestBench(StationContract):
    """A bench keeps the contract."""

    def open(self) -> AbstractAsyncContextManager[Station]:
        return bench()


def test_depth_travels_with_the_picture_and_is_metric() -> None:
    async def run() -> None:
        async with bench() as station:
            frame = await station.capture("top")
            assert frame.depth_m is not None
            assert frame.depth_m.shape == frame.rgb.shape[:2]
            assert frame.depth_m.dtype == np.float32
            table_m = pin_box.CAMERAS["top"][0][2]
            corner_m = float(np.median(frame.depth_m[440:, :60]))
            assert abs(corner_m - table_m) < 0.002, "the corner of the picture shows the table"

    asyncio.run(run())


def test_joint_states_are_angles_and_speeds_of_both_arms() -> None:
    async def run() -> None:
        async with bench() as station:
            assert set(await station.get_joint_states()) == {"left_q", "left_qd", "right_q", "right_qd"}

    asyncio.run(run())
