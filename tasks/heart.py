"""Heartbeats of flow runs and trials (`run/hearts/`): the fleet ends one that hangs or was stopped, and it begins anew."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from data.lab import Lab
from nightlab.heartbeat import PERIOD_S, beat
from nightlab.processes import ProcessId

_mine: set[Path] = set()


def hearts_dir(lab: Lab) -> Path:
    """Where they lie: one file per process, `what-pid.start_ticks`."""
    return lab.run_dir / "hearts"


@asynccontextmanager
async def heart(folder: Path, what: str) -> AsyncIterator[None]:
    """Let this process's heart beat in `folder` while the event loop turns; inside another one of its own it does nothing.

    Args:
        folder: `hearts_dir` of a lab.
        what: `campaign`, `station-robot-1`, `trial-robot-1`, …: for the log of whoever ends it.
    """
    if _mine:
        yield
        return
    me = ProcessId.of(os.getpid())
    path = folder / f"{what}-{me.pid}.{me.start_ticks}"
    with contextlib.suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
    _mine.add(path)
    task = asyncio.create_task(_beat(), name="heartbeat")
    try:
        yield
    finally:
        task.cancel()
        for path in list(_mine):
            _mine.discard(path)
            path.unlink(missing_ok=True)


def relabel(what: str) -> None:
    """Give this process's heartbeat another name; without one it does nothing."""
    for path in list(_mine):
        new = path.with_name(f"{what}-{path.name.rpartition('-')[2]}")
        with contextlib.suppress(OSError):
            path.rename(new)
        _mine.discard(path)
        _mine.add(new)


async def _beat() -> None:
    while True:
        for path in _mine:
            beat(path)
        await asyncio.sleep(PERIOD_S)


def process_of(path: Path) -> ProcessId | None:
    """The process whose heartbeat `path` is; None if the name is none of ours."""
    pid, _, ticks = path.name.rpartition("-")[2].partition(".")
    return ProcessId(pid=int(pid), start_ticks=int(ticks)) if pid.isdigit() and ticks.isdigit() else None
