"""Room on the lab's disks: whether there is enough to go on, and whether an error says that there is none.

A full disk is nobody's fault in a campaign: nothing is judged by it. The keeper refuses what it cannot make durable,
stages wait, the Prefect server holds its clients off, and all go on once there is space again.
"""

from __future__ import annotations

import errno
import os
import sqlite3
from pathlib import Path
from typing import Final

from data.lab import Lab
from nightlab.errors import DiskFullError, LabError

ENOUGH_MIB: Final = 256
"""Free space that always suffices."""
ENOUGH_SHARE: Final = 0.05
"""… or this share of a small disk."""
_FULL = (errno.ENOSPC, errno.EDQUOT)


def short(lab: Lab, *, part: float = 1.0) -> str:
    """Where space runs out, e.g. `3 MiB free at /labs/one/spool, 12 needed`; empty while there is enough everywhere.

    Args:
        lab: its folders may lie on several disks.
        part: of the space that is usually asked for.
    """
    folders = (
        lab.path, lab.spool_dir, lab.rollouts_dir, lab.checkpoints_dir, lab.worktrees_dir, lab.prefect_dir,
        lab.records_dir, lab.run_dir,
    )  # fmt: skip
    for folder in folders:
        lack = short_at(folder, part=part)
        if lack:
            return lack
    return ""


def short_at(folder: Path, *, part: float = 1.0) -> str:
    """The same for one folder's disk; empty also if the folder is missing."""
    try:
        disk = os.statvfs(folder)
    except OSError:
        return ""
    free_mib, total_mib = disk.f_bavail * disk.f_frsize / 2**20, disk.f_blocks * disk.f_frsize / 2**20
    needed_mib = part * min(ENOUGH_MIB, ENOUGH_SHARE * total_mib)
    return f"{free_mib:.0f} MiB free at {folder}, {needed_mib:.0f} needed" if free_mib < needed_mib else ""


def is_full(error: BaseException | None) -> bool:
    """Whether an error, or what caused it, says that a disk is full."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        if isinstance(error, DiskFullError) or (isinstance(error, OSError) and error.errno in _FULL):
            return True
        if isinstance(error, sqlite3.Error) and "is full" in str(error):
            return True
        if isinstance(error, LabError) and os.strerror(errno.ENOSPC) in str(error):  # what git said
            return True
        error = error.__cause__ or error.__context__
    return False


def refusal(lab: Lab) -> DiskFullError:
    """What the keeper answers."""
    where = short(lab) or f"the disk of {lab.path} was full a moment ago"
    return DiskFullError(f"the lab's disk is full: {where}. Nothing is lost; free some space and the campaign goes on")
