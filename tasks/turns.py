"""Taking turns over all processes of a lab: so many at once, first come first served within a process.

A place is a locked file, which the kernel frees when its holder dies. It is asked for again and again rather than waited
for in a thread: asyncio has few of these (six on two cores), and whoever has the place may need one to get on.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final
from weakref import WeakKeyDictionary

LOOK_S: Final = 0.05
"""Pause before a place is asked for again, wall seconds."""
_QUEUES: Final[WeakKeyDictionary[asyncio.AbstractEventLoop, dict[Path, asyncio.Lock]]] = WeakKeyDictionary()


@asynccontextmanager
async def turn(path: Path, places: int = 1) -> AsyncIterator[float]:
    """Hold one of the places while the block runs; gives how long that took to get, wall seconds.

    Args:
        path: names what is shared; beside it lie its locks, `NAME.1.lock` and so on.
        places: how many may be held at once, over all processes.
    """
    begin_s = time.monotonic()
    queue = _QUEUES.setdefault(asyncio.get_running_loop(), {}).setdefault(path, asyncio.Lock())
    async with queue:
        held = await _place(path, places)
    try:
        yield time.monotonic() - begin_s
    finally:
        os.close(held)


async def _place(path: Path, places: int) -> int:
    while True:
        for number in range(1, places + 1):
            descriptor = os.open(path.with_name(f"{path.name}.{number}.lock"), os.O_CREAT | os.O_RDWR, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(descriptor)
            except BaseException:
                os.close(descriptor)
                raise
            else:
                return descriptor
        await asyncio.sleep(LOOK_S)
