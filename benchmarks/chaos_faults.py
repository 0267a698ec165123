"""The faults of the chaos runs: SIGKILL, SIGSTOP, every connection cut, a disk filled to the last byte."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_PIDFD_GETFD: Final = 438
MOUNTS: Final = {"spool": 48, "rollouts": 128, "checkpoints": 48, "worktrees": 48, "prefect": 96}
"""Folders of a lab that get a small disk of their own, and its size in MiB."""
SPARE: Final = ".chaos-fill"


def kill(pid: int) -> None:
    """SIGKILL."""
    os.kill(pid, signal.SIGKILL)


def stop(pid: int) -> None:
    """SIGSTOP: alive for the kernel, dead for everybody else. Nobody sends SIGCONT afterwards."""
    os.kill(pid, signal.SIGSTOP)


def disconnect(pid: int) -> int:
    """Cut every connection of a process, TCP and Unix, from outside; returns how many.

    The sockets are duplicated with pidfd_getfd (root, or the same user without Yama) and shut down, so both ends read
    the end of the stream, as if the line had been cut. What it listens on stays.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    process, cut = os.pidfd_open(pid), 0
    try:
        for entry in os.listdir(f"/proc/{pid}/fd"):
            try:
                if not os.readlink(f"/proc/{pid}/fd/{entry}").startswith("socket:"):
                    continue
            except OSError:
                continue
            copy = libc.syscall(_PIDFD_GETFD, process, int(entry), 0)
            if copy < 0:
                raise PermissionError(ctypes.get_errno(), "pidfd_getfd: run the chaos as root")
            with contextlib.closing(socket.socket(fileno=copy)) as found, contextlib.suppress(OSError):
                if found.type == socket.SOCK_STREAM and not found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                    found.getpeername()
                    found.shutdown(socket.SHUT_RDWR)
                    cut += 1
    finally:
        os.close(process)
    return cut


def fill(folder: Path) -> Path:
    """Take all space of a folder's disk; returns the file that holds it. Unlink that to give it back."""
    spare = folder / SPARE
    with spare.open("wb", buffering=0) as file:
        for size in (1 << 20, 1 << 12, 1):
            with contextlib.suppress(OSError):
                while True:
                    file.write(b"\0" * size)
    return spare


def small_disks(lab: Path) -> dict[str, Path]:
    """Put the lab's folders on small disks of their own (tmpfs); what they held is moved in. Needs root.

    Call it in a mount namespace of its own (`unshare --mount`), so that nothing is left behind.
    """
    made: dict[str, Path] = {}
    for name, size_mib in MOUNTS.items():
        folder = lab / name
        held = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
        folders = [path.name for path in folder.iterdir() if path.is_dir()]
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size_mib}m", "nightlab-chaos", folder], check=True)
        for file, content in held.items():
            (folder / file).write_bytes(content)
        for inner in folders:
            (folder / inner).mkdir()
        made[name] = folder
    return made


def drop_disks(lab: Path) -> None:
    """Take the small disks away again, with what is on them."""
    for name in MOUNTS:
        if (lab / name).is_mount():
            subprocess.run(["umount", "--lazy", lab / name], check=True)


def can_mount() -> bool:
    """Whether this process may mount in its own namespace."""
    probe = "mount -t tmpfs -o size=64k probe /mnt && umount /mnt"
    done = subprocess.run(["unshare", "--mount", "sh", "-c", probe], capture_output=True, check=False)
    return done.returncode == 0


def full(folder: Path) -> bool:
    """Whether not one more block fits."""
    probe = folder / ".chaos-probe"
    try:
        with probe.open("wb", buffering=0) as file:
            file.write(b"\0" * 4096)
            os.fsync(file.fileno())
    except OSError as error:
        return error.errno == errno.ENOSPC
    finally:
        probe.unlink(missing_ok=True)
    return False


def children(pid: int) -> Iterator[int]:
    """Every process below `pid`."""
    import psutil

    with contextlib.suppress(psutil.Error):
        for child in psutil.Process(pid).children(recursive=True):
            yield child.pid
