"""The contract suites on real hardware; skipped unless named. See docs/hardware.md. The robot moves!

NIGHTLAB_STATION=127.0.0.1:5555 python -m pytest tests/robots/test_hardware.py -k Station
NIGHTLAB_CAMERA='{"driver": "realsense", "config": {}}' python -m pytest tests/robots/test_hardware.py -k Camera
"""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager, contextmanager
from typing import Any

import pytest

from nightlab.contracts import Station
from nightlab.records import CellConfig
from nightlab.testing.camera import CameraContract
from nightlab.testing.station import StationContract
from robots.client import StationClient
from robots.drivers import open_cameras

ADDRESS, KEYS = os.environ.get("NIGHTLAB_STATION", ""), os.environ.get("NIGHTLAB_STATION_KEYS", "")
CAMERA = os.environ.get("NIGHTLAB_CAMERA", "")


@pytest.mark.skipif(not ADDRESS, reason="NIGHTLAB_STATION=HOST:PORT names a station that is served")
class TestStation(StationContract):
    """A station that `nightlab station serve` serves keeps the contract; its e-stop is cleared after each test."""

    def open(self) -> AbstractAsyncContextManager[Station]:
        return self._open()

    @asynccontextmanager
    async def _open(self) -> AsyncIterator[Station]:
        client = await StationClient.connect(ADDRESS, keys=KEYS)
        try:
            await client.clear_estop()
            yield client
        finally:
            await client.clear_estop()
            await client.close()


@pytest.mark.skipif(not CAMERA, reason="NIGHTLAB_CAMERA={driver, config} names a camera as station.yaml does")
class TestCamera(CameraContract):
    """A camera that is plugged in keeps the contract."""

    def open(self) -> AbstractContextManager[Any]:
        return self._open()

    @contextmanager
    def _open(self) -> Iterator[Any]:
        cell = CellConfig.model_validate({"station": "x", "driver": "echo", "cameras": {"top": json.loads(CAMERA)}})
        camera = open_cameras(cell)["top"]
        try:
            yield camera
        finally:
            camera.close()
