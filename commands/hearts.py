"""Flow runs and trials that hang: the fleet kills what has fallen silent, and the next one continues from the ledger."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
from pathlib import Path

from nightlab.heartbeat import Silence
from tasks.heart import process_of

SILENCE_S = 15.0
"""Wall seconds without a heartbeat after which a flow run or a trial counts as hung."""

log = logging.getLogger("nightlab.fleet")


async def see_silent(folder: Path, *, every_s: float = 1.0, silence_s: float = SILENCE_S) -> None:
    """Kill every process whose heartbeat in `folder` stands still; runs as long as the fleet.

    A killed station flow is started again by its campaign, a killed trial by its rollout stage, a killed campaign flow
    by `nightlab run`.

    Args:
        folder: Heartbeat files, see `tasks.heart`.
        every_s: Time between two looks, wall seconds.
        silence_s: Silence that is borne.
    """
    watched: dict[Path, Silence] = {}
    while True:
        await asyncio.sleep(every_s)
        paths = sorted(folder.glob("*-*.*"))
        for gone in watched.keys() - set(paths):  # a trial that serves another robot gives its file another name
            del watched[gone]
        for path in paths:
            process = process_of(path)
            if process is None:
                continue
            if not process.alive:
                watched.pop(path, None)
                path.unlink(missing_ok=True)
                continue
            silent_s = watched.setdefault(path, Silence(path, process.pid)).look()
            if silent_s > silence_s:
                log.warning("%s has made no progress for %.0f s; killed", path.name, silent_s)
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(process.pid, signal.SIGKILL)
