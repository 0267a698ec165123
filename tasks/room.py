"""Waiting for room on the lab's disks: a stage neither begins without it nor fails for the lack of it."""

from __future__ import annotations

import asyncio
import sys
import time

from data.disk import is_full, short
from tasks.context import LabContext

LOOK_S = 1.0
TELL_S = 60.0
"""How often the log is reminded of what is waited for, wall seconds."""


async def room(lab: LabContext) -> None:
    """Return once every disk of the lab has room; at once as a rule."""
    told_s = 0.0
    while lack := short(lab.lab):
        if time.monotonic() - told_s > TELL_S:
            told_s = time.monotonic()
            say(f"paused: {lack}. Free some space; the campaign goes on by itself")
        await asyncio.sleep(LOOK_S)


async def waited(lab: LabContext, error: Exception) -> bool:
    """Whether an error came of a full disk; then True once there is room again, and the work may be done anew.

    What untrusted code says of its own failure does not count: only what our side met, and what the disks say now.
    """
    if not (is_full(error) or short(lab.lab)):
        return False
    say(f"to be done again once there is room: {type(error).__name__}: {str(error)[:300]}")
    await room(lab)
    return True


def say(line: str) -> None:
    """A line on stderr; a full disk may refuse even that."""
    try:
        print(line, file=sys.stderr, flush=True)
    except OSError:
        return
