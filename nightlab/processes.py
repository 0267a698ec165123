"""Child processes that leave nothing behind: they die with their parent and end as a group."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

import psutil

from nightlab import confine
from nightlab.records import Record

Stream = int | IO[bytes] | None
"""What `subprocess` takes for a stream: PIPE, DEVNULL, STDOUT, a file or None (inherited)."""


def launcher(order: Mapping[str, object], argv: Sequence[str | Path]) -> list[str]:
    """The argv that carries out `order` (see `nightlab.confine`) and then becomes `argv`, in the same process."""
    return [sys.executable, "-I", "-S", str(confine.__file__), json.dumps(order), *map(str, argv)]


def spawn(
    argv: Sequence[str | Path],
    *,
    cwd: Path | str | None = None,
    env: Mapping[str, str] | None = None,
    stdin: Stream = subprocess.DEVNULL,
    stdout: Stream = None,
    stderr: Stream = None,
    pass_fds: Sequence[int] = (),
    die_with_parent: bool = True,
) -> subprocess.Popen[bytes]:
    """Start a program in its own session; SIGKILL reaches it when the thread that started it ends.

    The launcher costs about 25 ms. A program that does not exist makes it exit with 126 and a line on stderr.
    """
    return subprocess.Popen(
        _with_death(argv, die_with_parent),
        cwd=cwd,
        env=env,
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        pass_fds=pass_fds,
        start_new_session=True,
    )


async def spawn_async(
    argv: Sequence[str | Path],
    *,
    cwd: Path | str | None = None,
    env: Mapping[str, str] | None = None,
    stdin: Stream = subprocess.DEVNULL,
    stdout: Stream = None,
    stderr: Stream = None,
    pass_fds: Sequence[int] = (),
    die_with_parent: bool = True,
) -> asyncio.subprocess.Process:
    """As `spawn`, for asyncio."""
    return await asyncio.create_subprocess_exec(
        *_with_death(argv, die_with_parent),
        cwd=cwd,
        env=env,
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        pass_fds=pass_fds,
        start_new_session=True,
    )


def _with_death(argv: Sequence[str | Path], die_with_parent: bool) -> list[str]:
    if not die_with_parent or sys.platform != "linux":
        return [str(item) for item in argv]
    return launcher({"die": int(signal.SIGKILL), "parent": os.getpid()}, argv)


def kill_group(pid: int, number: int = signal.SIGKILL) -> bool:
    """Signal the whole process group that `pid` leads; False if there is none any more."""
    if pid <= 1:
        return False
    try:
        os.killpg(pid, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True


async def stop_async(process: asyncio.subprocess.Process, grace_s: float = 5.0) -> int:
    """End a spawned process and its group: SIGTERM, `grace_s` of patience, SIGKILL. Returns its exit code."""
    if process.returncode is None:
        kill_group(process.pid, signal.SIGTERM)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), grace_s)
    kill_group(process.pid)
    return await process.wait()


def stop(process: subprocess.Popen[bytes], grace_s: float = 5.0) -> int:
    """As `stop_async`, for blocking code."""
    if process.poll() is None:
        kill_group(process.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(grace_s)
    kill_group(process.pid)
    return process.wait()


def start_time(pid: int) -> float | None:
    """When a process started, in seconds since the epoch; None if there is no such living process.

    For people to read: it is reckoned from the clock as it is now, and moves when that is set.
    """
    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else float(process.create_time())
    except psutil.Error:
        return None


def alive(pid: int, ticks: int | None = None) -> bool:
    """Whether the process lives, and is the one whose `start_ticks` were noted rather than a later one of the same pid."""
    found = start_ticks(pid)
    return found is not None and ticks in (None, found)


def stopped(pid: int) -> bool:
    """Whether the process, or one that it started, was stopped by a signal (SIGSTOP) and does not go on."""
    try:
        process = psutil.Process(pid)
        return any(one.status() == psutil.STATUS_STOPPED for one in (process, *process.children(recursive=True)))
    except psutil.Error:
        return False


async def until_stopped(pid: int, *, every_s: float = 1.0, looks: int = 5) -> None:
    """Return once the process was found `stopped` so many times in a row: for programs that cannot beat a heart."""
    seen = 0
    while seen < looks:
        await asyncio.sleep(every_s)
        seen = seen + 1 if stopped(pid) else 0


class ProcessId(Record):
    """One process as it is remembered on disk: a pid alone names nobody, numbers are used again."""

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
        return alive(self.pid, self.start_ticks)


def start_ticks(pid: int) -> int | None:
    """Start time of a running process in clock ticks since boot; None if there is none or it is a zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    fields = stat[stat.rindex(")") + 2 :].split()
    return None if fields[0] in ("Z", "X") else int(fields[19])
