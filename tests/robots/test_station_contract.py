from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from nightlab.contracts import Station
from nightlab.testing.station import StationContract
from robots.drivers.simulated import SimulatedDriver
from robots.profiles import load_profile
from robots.served import served
from robots.worlds import make_world


class TestSimulatedStation(StationContract):
    """A Push-T station keeps the contract, with its control streams over gRPC or over the control socket."""

    @pytest.fixture(autouse=True, params=["loopback", "unix", "loopback, gRPC alone"])
    def _address(self, request: pytest.FixtureRequest, tmp_path: Path) -> None:
        self.address = f"unix:{tmp_path}/s.sock" if request.param == "unix" else "127.0.0.1:0"
        self.local = "gRPC" not in request.param

    def open(self) -> AbstractAsyncContextManager[Station]:
        driver = SimulatedDriver(
            lambda profile, seed: make_world("push_t", load_profile(profile), seed), "robot-1", "nominal", 1, 20.0
        )
        return served(driver, self.address, local=self.local)
