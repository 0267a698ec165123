"""A driver behind a station server in this process, and a client of it: how a driver meets the contract suite."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from robots.cell import Cell
from robots.client import StationClient
from robots.driver import Driver
from robots.server import StationServer


@asynccontextmanager
async def served(driver: Driver, address: str = "127.0.0.1:0", *, local: bool = True) -> AsyncIterator[StationClient]:
    """Serve the driver, connect a client, and close both and the driver in the end; `local` as in `connect`.

    class TestMyArm(nightlab.testing.station.StationContract):
        def open(self):
            return served(MyArm())
    """
    cell = Cell(driver)
    cell.start()
    server = StationServer(cell, address)
    try:
        client = await StationClient.connect(server.address, local=local)
        try:
            yield client
        finally:
            await client.close()
    finally:
        server.stop(0.2)
