"""A trial's heartbeat: named after the robot that it has, and never in its way."""

from __future__ import annotations

import asyncio
import os
import threading
from pathlib import Path

import pytest

import tasks.heart
from tasks.heart import heart, process_of, relabel


def test_the_heartbeat_is_renamed_and_goes_on_under_the_new_name_only(tmp_path: Path) -> None:
    async def body() -> None:
        async with heart(tmp_path, "trial-waiting"):
            await asyncio.sleep(0.05)
            (first,) = tmp_path.iterdir()
            relabel("trial-robot-2")
            (second,) = tmp_path.iterdir()
            assert second.name.startswith("trial-robot-2-")
            assert process_of(second) == process_of(first)
            os.utime(second, (1, 1))
            await asyncio.sleep(1.2)
            (third,) = tmp_path.iterdir()
            assert third == second
            assert third.stat().st_mtime > 1, "it beats on"
        assert not list(tmp_path.iterdir())

    asyncio.run(body())
    relabel("trial-robot-1")
    assert not list(tmp_path.iterdir()), "without a heartbeat there is nothing to rename"


def test_a_disk_that_stalls_does_not_hold_up_the_event_loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stalled, goes_on = threading.Event(), threading.Event()
    loop_went_on: list[bool] = []

    def stall(path: Path) -> None:
        stalled.set()
        loop_went_on.append(goes_on.wait(10.0))

    async def body() -> None:
        async with heart(tmp_path, "trial-robot-1"):
            while not stalled.is_set():
                await asyncio.sleep(0.01)
            goes_on.set()

    monkeypatch.setattr(tasks.heart, "beat", stall)
    asyncio.run(body())
    assert loop_went_on == [True]
