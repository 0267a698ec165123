"""The contract suite of a Station: what every station must keep, simulated or real, in-process or over a network.

Subclass `StationContract` in a test module, give `open`, and the suite runs:

    class TestMyStation(StationContract):
        def open(self):
            return my_station()  # async context manager that yields a fresh Station; of a driver: robots.served.served

Every assertion carries the rule that was broken. Real robots: the suite moves the arm by a hundredth of its limits.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray

from nightlab.contracts import Station
from nightlab.errors import LeaseError, SafetyError, StationError
from nightlab.records import LimitsSpec, StationSpec

Action = dict[str, NDArray[np.float64]]


def middle(spec: StationSpec) -> Action:
    """The action in the middle of the limits."""
    low, high = spec.limits.action_low, spec.limits.action_high
    return {a.key: np.reshape(np.add(low[a.key], high[a.key]) / 2, a.shape) for a in spec.actions}


def nudged(spec: StationSpec, action: Action, share: float) -> Action:
    """An action moved towards the middle of the limits by `share` of their width, per element."""
    out, centre = {}, middle(spec)
    for key, value in action.items():
        width = np.subtract(spec.limits.action_high[key], spec.limits.action_low[key]).reshape(value.shape)
        out[key] = value + np.sign(centre[key] - value + 1e-9) * share * width
    return out


class StationContract:
    """Inherit and give `open`."""

    def open(self) -> AbstractAsyncContextManager[Station]:
        """A fresh station that nobody holds."""
        raise NotImplementedError

    def _run(self, check: Callable[[Station, StationSpec], Awaitable[None]]) -> None:
        async def run() -> None:
            async with self.open() as station:
                await check(station, await station.describe())

        asyncio.run(run())

    def test_describe_names_every_channel_with_limits(self) -> None:
        async def check(station: Station, spec: StationSpec) -> None:
            assert spec.rate_hz > 0, "a station has a control rate"
            for channel in (*spec.observations, *spec.actions):
                size = int(np.prod(channel.shape))
                assert len(channel.low) == len(channel.high) == size, f"{channel.key}: bounds per element"
            for action in spec.actions:
                assert action.key in spec.limits.action_low, f"{action.key}: no limits, no lease"

        self._run(check)

    def test_observation_fits_the_spec(self) -> None:
        async def check(station: Station, spec: StationSpec) -> None:
            seen = await station.observe()
            assert set(seen.values) == {c.key for c in spec.observations}, "observe gives the channels of the spec"
            for channel in spec.observations:
                value = seen.values[channel.key]
                assert value.shape == channel.shape, f"{channel.key}: shape of the spec"
                assert value.dtype == np.float64, f"{channel.key}: float64"
                assert np.isfinite(value).all(), f"{channel.key}: finite"

        self._run(check)

    def test_one_observation_per_action_and_both_clocks_advance(self) -> None:
        async def check(station: Station, spec: StationSpec) -> None:
            lease = await station.lease("contract", spec.limits)
            async with station.control(lease, "contract") as session:
                first = await session.hold()
                chunk = [first.executed] * 3
                seen = await session.step(chunk)
                assert len(seen) == 3, "one observation per action"
                ticks = [first, *seen]
                assert [o.seq - first.seq for o in ticks] == [0, 1, 2, 3], "seq counts control ticks"
                for before, after in pairwise(ticks):
                    passed_s = after.clock.station_s - before.clock.station_s
                    assert passed_s == pytest.approx(1 / spec.rate_hz, abs=1e-3), "a step is one control period"
                    assert after.clock.wall_s >= before.clock.wall_s, "the wall clock never steps back"
            await lease.release()

        self._run(check)

    def test_refused_actions_hold_the_robot_and_leave_the_stream_open(self) -> None:
        async def check(station: Station, spec: StationSpec) -> None:
            lease = await station.lease("contract", spec.limits)
            async with station.control(lease, "contract") as session:
                still = dict((await session.hold()).executed)
                key = spec.actions[0].key
                nan = {**still, key: still[key] * np.nan}
                high = np.reshape(spec.limits.action_high[key], still[key].shape)
                wide = {**still, key: high + 1.0}
                flat = {**still, key: np.zeros(still[key].size + 1)}
                before = await session.hold()
                for bad, why in ((nan, "not finite|NaN|outside"), (wide, "out of bounds|outside"), (flat, "shape")):
                    with pytest.raises(SafetyError, match=why):
                        await session.step([still, bad])
                with pytest.raises(SafetyError, match="keys"):
                    await session.step([{"no_such_channel": np.zeros(1)}])
                after = await session.hold()
                for name, value in before.executed.items():
                    np.testing.assert_allclose(after.executed[name], value, err_msg="a refused chunk moves nothing")
            await lease.release()

        self._run(check)

    def test_too_large_step_is_clamped_and_flagged(self) -> None:
        async def check(station: Station, spec: StationSpec) -> None:
            key = spec.actions[0].key
            width = np.subtract(spec.limits.action_high[key], spec.limits.action_low[key])
            asked = spec.limits.model_copy(update={"max_step": {key: tuple(width * 0.002)}})
            lease = await station.lease("contract", asked)
            async with station.control(lease, "contract") as session:
                still = dict((await session.hold()).executed)
                (seen,) = await session.step([nudged(spec, still, 0.01)])
                assert seen.flags.clamped, "a step beyond max_step is flagged"
                moved = np.abs(seen.executed[key] - still[key]).ravel()
                np.testing.assert_allclose(moved, width * 0.002, err_msg="and shortened to max_step")
            await lease.release()

        self._run(check)

    def test_no_limits_no_lease(self) -> None:
        async def check(station: Station, spec: StationSpec) -> None:
            with pytest.raises(SafetyError, match="no limits, no lease"):
                await station.lease("contract", LimitsSpec(action_low={}, action_high={}))

        self._run(check)

    def test_leases_are_exclusive_and_first_come_first_served(self) -> None:
        async def check(station: Station, spec: StationSpec) -> None:
            first = await station.lease("first", spec.limits)
            order: list[str] = []

            async def wait(name: str) -> None:
                lease = await station.lease(name, spec.limits)
                order.append(name)
                await lease.release()

            waiting = []
            for name in ("second", "third", "fourth"):
                waiting.append(asyncio.create_task(wait(name)))
                await asyncio.sleep(0.1)
            assert not order, "a held station is not leased again"
            await first.release()
            await asyncio.wait_for(asyncio.gather(*waiting), 10)
            assert order == ["second", "third", "fourth"], "first come, first served"

        self._run(check)

    def test_control_without_lease_is_refused(self) -> None:
        async def check(station: Station, spec: StationSpec) -> None:
            lease = await station.lease("contract", spec.limits)
            await lease.release()
            with pytest.raises(LeaseError):
                async with station.control(lease, "contract") as session:
                    await session.hold()
            with pytest.raises(LeaseError):
                await station.home(lease)

        self._run(check)

    def test_cameras_give_what_the_spec_says(self) -> None:
        async def check(station: Station, spec: StationSpec) -> None:
            for camera in spec.cameras:
                frame = await station.capture(camera.key)
                assert frame.rgb.shape == (camera.height_px, camera.width_px, 3), f"{camera.key}: size of the spec"
                assert frame.rgb.dtype == np.uint8, f"{camera.key}: uint8"
                assert (await station.capture(camera.key)).seq > frame.seq, "frames are counted"
            with pytest.raises(StationError, match="no camera"):
                await station.capture("no_such_camera")

        self._run(check)

    def test_estop_stops_motion_until_it_is_cleared(self) -> None:
        async def check(station: Station, spec: StationSpec) -> None:
            lease = await station.lease("contract", spec.limits)
            async with station.control(lease, "contract") as session:
                still = dict((await session.hold()).executed)
                await station.estop("contract suite")
                with pytest.raises(StationError, match="contract suite"):
                    await session.step([still])
            with pytest.raises(StationError, match="contract suite"):
                async with station.control(lease, "contract") as session:
                    await session.hold()

        self._run(check)
