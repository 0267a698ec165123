"""The evidence routine on the bench: a stream that stopped because the policy was late costs no evidence."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import numpy as np
import pytest

from environments.pin_insertion import spec
from environments.pin_insertion.environment import PinInsertion
from nightlab.contracts import ControlSession, Observation, Values
from nightlab.errors import SafetyError
from nightlab.testing.fake_station import FakeStation
from robots.profiles import load_profile
from robots.worlds import make_world


class Stopped:
    """A stream that was stopped for late actions: only `hold` goes on."""

    def __init__(self, session: ControlSession) -> None:
        self._session = session
        self.refused = 0

    async def step(self, chunk: Sequence[Values], *, film: bool = False) -> list[Observation]:
        self.refused += 1
        raise SafetyError("3 control periods without an action: the stream stopped; only hold() goes on")

    async def hold(self) -> Observation:
        return await self._session.hold()


@pytest.mark.parametrize("stopped", [False, True])
def test_a_late_policy_cannot_have_its_episode_repeated_by_spoiling_the_evidence(stopped: bool) -> None:
    async def main() -> None:
        station = FakeStation(make_world("yam_bench", load_profile("nominal", "yam_bench"), 4))
        environment = PinInsertion()
        lease = await station.lease("test", environment.limits)
        await station.teleport({"hole": 1, "tip_x_m": 0.0, "tip_y_m": 0.0, "tip_z_m": -0.020, "yaw_rad": 0.0}, 1)
        async with station.control(lease, "test") as session:
            stream = Stopped(session)
            evidence = await environment.evidence(station, stream if stopped else session)
        assert len(evidence.frames) >= spec.HELD_FRAMES * len(spec.CAMERAS)
        truth = await station.truth()
        assert stream.refused == int(stopped)
        assert truth["held"] == float(stopped), "a pin that stands in a hole is let go wherever the stream allows it"
        assert truth["depth_m"] > 0.019
        assert all(np.any(frame.rgb) for frame in evidence.frames)

    asyncio.run(main())
