"""The contract suite against a station of its own station.yaml: mutual TLS, a holder's token, joint limits, a home pose."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest

from nightlab.records import CellConfig
from nightlab.testing.station import StationContract
from robots.client import StationClient
from robots.keys import make_keys
from robots.station import Station


class TestSecuredStation(StationContract):
    @pytest.fixture(autouse=True)
    def keys(self, tmp_path_factory: pytest.TempPathFactory) -> None:
        self.folder: Path = tmp_path_factory.mktemp("keys")
        make_keys(self.folder, ["127.0.0.1"], ["lab-a"])

    def open(self) -> AbstractAsyncContextManager[StationClient]:
        @asynccontextmanager
        async def opened() -> AsyncIterator[StationClient]:
            server = self.folder / "server"
            joints = {"hard_low": [-3] * 6, "soft_low": [-2] * 6, "soft_high": [2] * 6, "hard_high": [3] * 6}
            config = CellConfig.model_validate(
                {
                    "station": "bench", "driver": "echo", "address": "0.0.0.0:0", "folder": self.folder,
                    "tls": {"ca": server / "ca.pem", "certificate": server / "server.pem", "key": server / "server.key"},
                    "tokens": server / "tokens.yaml", "home": {"target": [0.1] * 6},
                    "limits": {"joints": {"joint": {**joints, "max_velocity": [9] * 6, "command": "target"}}},
                }
            )  # fmt: skip
            station = Station(config)
            address = f"127.0.0.1:{station.address.rpartition(':')[2]}"
            try:
                client = await StationClient.connect(address, keys=self.folder / "lab-a")
                try:
                    yield client
                finally:
                    await client.close()
            finally:
                station.stop(0.2)

        return opened()
