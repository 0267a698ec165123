from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from nightlab.contracts import World
from robots.admin import AdminClient
from robots.cell import Cell
from robots.client import StationClient
from robots.drivers.simulated import SimulatedDriver
from robots.profiles import load_profile
from robots.server import StationServer
from robots.worlds import make_world


@dataclass
class Rig:
    """A station server in this process, and clients of it."""

    server: StationServer
    cell: Cell
    driver: SimulatedDriver
    station: StationClient
    admin: AdminClient


def push_t(profile: str, station_seed: int) -> World:
    return make_world("push_t", load_profile(profile), station_seed)


@contextmanager
def serving(
    directory: Path, *, speed: float = 50.0, make: Callable[[str, int], World] = push_t
) -> Iterator[tuple[StationServer, Cell, SimulatedDriver]]:
    driver = SimulatedDriver(make, "robot-1", "nominal", 7, speed)
    cell = Cell(driver)
    cell.start()
    server = StationServer(cell, "127.0.0.1:0", directory / "admin.sock", driver)
    try:
        yield server, cell, driver
    finally:
        server.stop(0.2)


@pytest.fixture
def rig(tmp_path: Path) -> Callable[..., AbstractAsyncContextManager[Rig]]:
    """`async with rig(speed=…) as r`: a served Push-T station with connected clients."""

    @asynccontextmanager
    async def make(*, local: bool = True, **options: object) -> AsyncIterator[Rig]:
        with serving(tmp_path, **options) as (server, cell, driver):  # type: ignore[arg-type]
            station = await StationClient.connect(server.address, local=local)
            admin = await AdminClient.connect(tmp_path / "admin.sock")
            try:
                yield Rig(server, cell, driver, station, admin)
            finally:
                await station.close()
                await admin.close()

    return make
