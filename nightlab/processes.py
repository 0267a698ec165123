"""Child processes that never outlive us: own session, killed as a group, killed by the kernel when the parent dies.

A pid alone names nobody (numbers are used again), so a process that is remembered on disk is remembered as `ProcessId`:
pid and start time.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from nightlab.records import Record

PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None, use_errno=True)

Output = int | IO[Any] | None


class ProcessId(Record):
    """One process, not merely its number."""

    pid: int
    start_ticks: int
    """Field 22 of /proc/PID/stat: clock ticks between boot and the start of the process."""

    @classmethod
    def of(cls, pid: int) -> ProcessId:
        """The process that has this number now. Raises ProcessLookupError if there is none."""
        ticks = start_ticks(pid)
        if ticks is None:
            raise ProcessLookupError(f"no process {pid}")
        return cls(pid=pid, start_ticks=ticks)

    @property
    def alive(self) -> bool:
        """True while exactly this process runs (a zombie does not)."""
        return start_ticks(self.pid) == self.start_ticks


def start_ticks(pid: int) -> int | None:
    """Start time of a running process in clock ticks since boot; None if there is none or it is a zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    fields = stat[stat.rindex(")") + 2 :].split()
    return None if fields[0] in ("Z", "X") else int(fields[19])


def die_with_parent(parent: int | None = None) -> None:
    """Ask the kernel to SIGKILL the calling process when its parent dies; exit at once if `parent` is dead already."""
    _LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if parent is not None and os.getppid() != parent:
        os._exit(1)


def spawn(
    argv: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    stdout: Output = None,
    stderr: Output = None,
    stdin: Output = subprocess.DEVNULL,
    pass_fds: Sequence[int] = (),
    nice: int = 0,
    outlive: bool = False,
) -> subprocess.Popen[bytes]:
    """Start a process in its own session. Unless `outlive`, the kernel kills it when the calling thread's process dies."""
    return subprocess.Popen(
        list(argv), env=env, cwd=cwd, stdout=stdout, stderr=stderr, stdin=stdin, pass_fds=pass_fds,
        start_new_session=True, preexec_fn=_before_exec(nice, outlive),
    )  # fmt: skip


async def spawn_async(
    argv: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    stdout: Output = None,
    stderr: Output = None,
    stdin: Output = subprocess.DEVNULL,
    pass_fds: Sequence[int] = (),
    nice: int = 0,
) -> asyncio.subprocess.Process:
    """The same for asyncio. Lines of its output may be up to 1 MiB long."""
    return await asyncio.create_subprocess_exec(
        *argv, env=env, cwd=cwd, stdout=stdout, stderr=stderr, stdin=stdin, pass_fds=pass_fds,
        start_new_session=True, preexec_fn=_before_exec(nice, False), limit=1 << 20,
    )  # fmt: skip


def _before_exec(nice: int, outlive: bool) -> Any:
    parent = os.getpid()

    def prepare() -> None:
        if not outlive:
            die_with_parent(parent)
        if nice:
            os.nice(nice)

    return prepare


def signal_group(pid: int, number: signal.Signals) -> None:
    """Send a signal to the process group that `pid` leads; nothing if it is gone."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)


def stop(process: subprocess.Popen[bytes], *, grace_s: float = 5.0) -> int:
    """SIGTERM to the group, `grace_s` to end, then SIGKILL to the group; returns the exit status."""
    signal_group(process.pid, signal.SIGTERM)
    try:
        code = process.wait(grace_s)
    except subprocess.TimeoutExpired:
        code = -signal.SIGKILL
    signal_group(process.pid, signal.SIGKILL)
    with contextlib.suppress(subprocess.TimeoutExpired):
        code = process.wait(5.0)
    return code


def stop_id(process: ProcessId, *, grace_s: float = 10.0) -> bool:
    """The same for a process remembered on disk; True when it is gone. Never touches another process with its number."""
    deadline_s = time.monotonic() + grace_s
    for number in (signal.SIGTERM, signal.SIGKILL):
        if not process.alive:
            return True
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, number)
        while process.alive and time.monotonic() < deadline_s:
            time.sleep(0.05)
        deadline_s = time.monotonic() + 5.0
    return not process.alive
