"""A station's heartbeat says that its control thread and its watchdog live, and is in nobody's way."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

import robots.cell
from robots.cell import Cell
from robots.drivers.simulated import SimulatedDriver
from robots.lease import LeaseTable
from tests.robots.conftest import push_t
from tests.robots.waiting import until


def test_a_disk_that_stalls_does_not_hold_up_the_watchdog(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stalled, goes_on = threading.Event(), threading.Event()

    def stall(path: Path) -> None:
        stalled.set()
        goes_on.wait(60.0)

    monkeypatch.setattr(robots.cell, "beat", stall)
    cell = Cell(SimulatedDriver(push_t, "robot-1", "nominal", 7, 50.0), tmp_path / "beat")
    cell.start()
    try:
        assert stalled.wait(10.0)
        assert cell.acquire("ticket", "silent", cell.driver.spec().limits, 0.2, 1.0, lambda: True)
        assert until(lambda: cell.leases.lapsed == 1), "whoever falls silent loses the robot, whatever the disk does"
    finally:
        goes_on.set()
        cell.close()


def test_a_watchdog_that_hangs_is_silent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(robots.cell, "STUCK_S", 0.5)
    beat, goes_on = tmp_path / "beat", threading.Event()
    cell = Cell(SimulatedDriver(push_t, "robot-1", "nominal", 7, 50.0), beat)
    cell.start()
    try:
        assert until(beat.exists)
        monkeypatch.setattr(LeaseTable, "expire", lambda _: goes_on.wait(60.0))

        def silent() -> bool:
            before = beat.stat().st_mtime_ns
            return not until(lambda: beat.stat().st_mtime_ns != before, 2.5)

        assert until(silent)
        assert cell.controller.alive
        goes_on.set()
        assert until(lambda: not silent())
    finally:
        goes_on.set()
        cell.close()
