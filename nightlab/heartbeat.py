"""A heartbeat: a file whose modification time says that a process makes progress, and does not merely exist.

A process that hangs or was stopped (SIGSTOP) lives on for the kernel; whoever watches it sees that its file grows old.
Beating changes a time stamp and needs no space, so it goes on when the disk is full.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

PERIOD_S: Final = 1.0
"""Wall seconds between two beats."""
RUNNABLE: Final = 1 / 8
"""What a second counts in which the silent process wanted a CPU: on a crowded machine it is late, not hung."""


def beat(path: Path) -> None:
    """One beat. A file that cannot be made (full disk) is made by a later beat."""
    try:
        os.utime(path)
    except FileNotFoundError:
        with contextlib.suppress(OSError):
            path.touch()
    except OSError:
        return


async def beating(path: Path | None) -> None:
    """Beat from this event loop until cancelled: proves that the loop turns. None: nobody watches."""
    while path is not None:
        beat(path)
        await asyncio.sleep(PERIOD_S)


def beat_in_thread(path: Path | None) -> None:
    """Beat from a thread until the process ends, for processes that work without an event loop."""

    def run(file: Path) -> None:
        while True:
            beat(file)
            time.sleep(PERIOD_S)

    if path is not None:
        threading.Thread(target=run, args=(path,), name="heartbeat", daemon=True).start()


class Silence:
    """How long a heartbeat file has not changed, in the watcher's own waking time.

    A machine that slept, a clock that was set or a watcher that was itself held up make nobody silent: between two
    looks at most `longest_s` count.

    Args:
        path: the file.
        pid: whose it is; seconds in which that process waits for a CPU count `RUNNABLE` only. 0: not known.
        clock: seconds, monotonic.
        longest_s: what counts at most between two looks.
    """

    def __init__(
        self, path: Path, pid: int = 0, *, clock: Callable[[], float] = time.monotonic, longest_s: float = 2.0
    ) -> None:
        self.path, self.pid = path, pid
        self.seen = False
        """Whether it has ever beaten since the watching began."""
        self._clock, self._longest_s = clock, longest_s
        self._last = self._mtime()
        self._looked_s = clock()
        self._silent_s = 0.0

    def look(self) -> float:
        """Seconds of silence so far; call it every second or so."""
        now_s, mtime = self._clock(), self._mtime()
        if mtime != self._last:
            self.seen, self._last, self._silent_s = True, mtime, 0.0
        else:
            passed_s = min(now_s - self._looked_s, self._longest_s)
            self._silent_s += passed_s * (RUNNABLE if self.pid and state(self.pid) == "R" else 1.0)
        self._looked_s = now_s
        return self._silent_s

    def _mtime(self) -> int:
        try:
            return self.path.stat().st_mtime_ns
        except OSError:
            return 0


def state(pid: int) -> str:
    """The kernel's letter for a process: R wants or has a CPU, S and D wait, T is stopped, Z is dead; empty: gone."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return ""
    return stat[stat.rindex(")") + 2]
