"""Heartbeats of flow runs and trials (`run/hearts/`): the fleet ends one that hangs or was stopped, and it begins anew."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path

from data.lab import Lab
from nightlab.heartbeat import PERIOD_S, beat
from nightlab.processes import ProcessId

_mine: set[Path] = set()
_thread = ThreadPoolExecutor(1, thread_name_prefix="heartbeat")
"""A thread of its own: a disk that stalls holds up no robot, and work that takes long does not hold up the heart."""
_names = threading.Lock()
"""Held while files are beaten, renamed or removed: a beat makes a file that is missing."""


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
        with _names:
            for path in list(_mine):
                _mine.discard(path)
                path.unlink(missing_ok=True)


def relabel(what: str) -> None:
    """Give this process's heartbeat another name; without one it does nothing."""
    with _names:
        for path in list(_mine):
            new = path.with_name(f"{what}-{path.name.rpartition('-')[2]}")
            with contextlib.suppress(OSError):
                path.rename(new)
            _mine.discard(path)
            _mine.add(new)


async def _beat() -> None:
    while True:
        await asyncio.get_running_loop().run_in_executor(_thread, _beat_all)
        await asyncio.sleep(PERIOD_S)


def _beat_all() -> None:
    with _names:
        for path in _mine:
            beat(path)


def process_of(path: Path) -> ProcessId | None:
    """The process whose heartbeat `path` is; None if the name is none of ours."""
    pid, _, ticks = path.name.rpartition("-")[2].partition(".")
    return ProcessId(pid=int(pid), start_ticks=int(ticks)) if pid.isdigit() and ticks.isdigit() else None
