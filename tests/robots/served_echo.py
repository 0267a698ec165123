"""A served station of driver `echo`, and a client of it, for the tests of the safety layer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from nightlab.records import CellConfig
from robots.client import StationClient
from robots.drivers.echo import EchoDriver
from robots.station import LATCH, Station


@contextmanager
def served(folder: Path, operator_token: str = "", **settings: object) -> Iterator[tuple[Station, EchoDriver]]:
    config = CellConfig.model_validate(
        {"station": "cell-1", "driver": "echo", "folder": folder, "state_dir": "state", **settings}
    )
    station = Station(config, latch_file=folder / "state" / LATCH, operator_token=operator_token)
    driver = station.cell.driver
    while not isinstance(driver, EchoDriver):
        driver = driver.inner  # type: ignore[attr-defined]
    try:
        yield station, driver
    finally:
        station.stop(0.2)


def with_client(address: str, check: Callable[[StationClient], Awaitable[None]], keys: Path | str = "") -> None:
    async def run() -> None:
        client = await StationClient.connect(address, keys=keys)
        try:
            await check(client)
        finally:
            await client.close()

    asyncio.run(run())


def at(value: float) -> dict[str, np.ndarray]:
    return {"target": np.full(6, value)}
