"""Who waits when the processor is short: what orchestrates and records, never what moves a robot.

Linux shares the processor among sessions first (autogroup) and then, by nice values, within one. A session that is started
from one that yields does not yield itself, its nice value however is inherited.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Final

NICE: Final = 10
"""Kernel weight 110 beside 1024 at nice 0 (sched_prio_to_weight): a tenth of a robot's share where both want the processor."""


def yield_session(pid: int = 0, nice: int = NICE) -> None:
    """Let a process and what it starts in its own session wait for all others; sessions begun from it do not.

    Args:
        pid: The process that leads the session; 0 is the caller. If it leads none, nothing happens.
        nice: 0 to 19; the higher, the longer it waits.
    """
    leader = pid or os.getpid()
    with contextlib.suppress(OSError):  # no autogroup, a session as old as the machine, or the process is gone
        if os.getsid(leader) == leader:
            Path(f"/proc/{leader}/autogroup").write_text(str(nice))


def yield_processor(pid: int = 0, nice: int = NICE) -> None:
    """As `yield_session`, and on every kernel: also what it will start in other sessions waits."""
    yield_session(pid, nice)
    leader = pid or os.getpid()
    with contextlib.suppress(OSError):
        if os.getsid(leader) == leader:
            os.setpriority(os.PRIO_PGRP, leader, nice)
