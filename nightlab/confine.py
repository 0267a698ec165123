"""Launcher of child processes: sets what a process must have before its program starts, then becomes that program.

    python -I -S confine.py JSON PROGRAM [ARGUMENT ...]

A script of the standard library only, run by path: the parent needs no `preexec_fn` (unsafe beside threads), and the
pid stays that of the child. Keys of the JSON object, all optional: `die` (signal number sent when the parent dies),
`parent` (the pid that must still be the parent), `rlimits` (name without `RLIMIT_` → number), `nproc` (processes of
this user on top of those it has now), `env`, `cwd`, `landlock` ({"read": paths, "write": paths}), `seccomp` (base64 of
a BPF filter), `seccomp_fd` (true: the filter is not loaded here but given to the program as a file descriptor, in place
of the argument `{seccomp}`).
"""

from __future__ import annotations

import binascii
import json
import os
import sys
from typing import Any, Final

PR_SET_PDEATHSIG: Final = 1
PR_SET_SECCOMP: Final = 22
PR_SET_NO_NEW_PRIVS: Final = 38
SYS_CREATE_RULESET: Final = 444
SYS_ADD_RULE: Final = 445
SYS_RESTRICT_SELF: Final = 446
FS_RIGHTS_OF_ABI: Final = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 4: (1 << 15) - 1, 5: (1 << 16) - 1}
"""Landlock ABI → all file-system rights it knows; later ones know those of 5."""
READ_RIGHTS: Final = 1 << 0 | 1 << 2 | 1 << 3
"""Execute, read file, read directory."""
FILE_RIGHTS: Final = 1 << 0 | 1 << 1 | 1 << 2 | 1 << 14 | 1 << 15
"""The rights that a rule for a plain file may carry."""


def landlock_abi() -> int:
    """Version of Landlock that the kernel offers; 0 = none."""
    try:
        return max(0, _syscall(SYS_CREATE_RULESET, None, 0, 1))
    except OSError:
        return 0


def _libc() -> Any:
    import ctypes

    return ctypes.CDLL(None, use_errno=True)


def _syscall(number: int, *arguments: Any) -> int:
    import ctypes

    libc = _libc()
    libc.syscall.restype = ctypes.c_long
    result: int = libc.syscall(
        ctypes.c_long(number), *(ctypes.c_long(item) if isinstance(item, int) else item for item in arguments)
    )
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def _prctl(option: int, value: int, pointer: Any = 0) -> None:
    import ctypes

    if _libc().prctl(option, ctypes.c_ulong(value), pointer, ctypes.c_ulong(0), ctypes.c_ulong(0)) != 0:
        raise OSError(ctypes.get_errno(), f"prctl {option}: {os.strerror(ctypes.get_errno())}")


def restrict_files(read: list[str], write: list[str]) -> None:
    """Allow reading and running below `read`, all but special files below `write`, and nothing else. For good."""
    import struct

    abi = landlock_abi()
    if abi < 1:
        raise OSError("this kernel has no Landlock")
    rights = FS_RIGHTS_OF_ABI[min(abi, 5)]
    attribute = struct.pack("=Q", rights)
    if abi >= 4:
        attribute += struct.pack("=Q", 0b11)  # no TCP bind, no TCP connect
    if abi >= 6:
        attribute += struct.pack("=Q", 0b11)  # no abstract sockets, no signals to processes outside
    ruleset = _syscall(SYS_CREATE_RULESET, attribute, len(attribute), 0)
    devices = 1 << 6 | 1 << 11  # no making of character and block devices
    for paths, allowed in ((read, READ_RIGHTS), (write, rights & ~devices)):
        for path in paths:
            try:
                place = os.open(path, os.O_PATH | os.O_CLOEXEC)
            except FileNotFoundError:
                continue
            granted = allowed & rights
            if not os.path.isdir(path):
                granted &= FILE_RIGHTS
            _syscall(SYS_ADD_RULE, ruleset, 1, struct.pack("=Qi", granted, place), 0)
            os.close(place)
    _prctl(PR_SET_NO_NEW_PRIVS, 1)
    _syscall(SYS_RESTRICT_SELF, ruleset, 0)
    os.close(ruleset)


def load_filter(bpf: bytes) -> None:
    """Load a seccomp filter (an array of `struct sock_filter`) into this process. For good."""
    import ctypes

    class Program(ctypes.Structure):
        _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))

    _prctl(PR_SET_NO_NEW_PRIVS, 1)
    _prctl(PR_SET_SECCOMP, 2, ctypes.byref(Program(len(bpf) // 8, bpf)))


def tasks_of_user() -> int:
    """Threads that this user has on this host, as RLIMIT_NPROC counts them."""
    count, user = 0, os.getuid()
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                if os.stat(f"/proc/{name}").st_uid == user:
                    count += len(os.listdir(f"/proc/{name}/task"))
            except OSError:
                continue
    return count


def main(order: dict[str, Any], argv: list[str]) -> None:
    """Do what is ordered, then become `argv`. Raises OSError; then nothing of `argv` has run."""
    import resource

    parent = int(order.get("parent", os.getppid()))
    if order.get("die"):
        _prctl(PR_SET_PDEATHSIG, int(order["die"]))
        if os.getppid() != parent:
            os._exit(1)
    limits = dict(order.get("rlimits", {}))
    if order.get("nproc") is not None:
        limits["NPROC"] = int(order["nproc"]) + tasks_of_user()
    for name, value in limits.items():
        which = getattr(resource, f"RLIMIT_{name}")
        hard = resource.getrlimit(which)[1]
        ceiling = int(value) if hard == resource.RLIM_INFINITY else min(int(value), hard)
        resource.setrlimit(which, (ceiling, ceiling))
    if order.get("cwd"):
        os.chdir(order["cwd"])
    environment = order.get("env")
    bpf = binascii.a2b_base64(order.get("seccomp", ""))
    if bpf and order.get("seccomp_fd"):
        place = os.memfd_create("seccomp", 0)
        os.write(place, bpf)
        os.lseek(place, 0, os.SEEK_SET)
        argv = [str(place) if item == "{seccomp}" else item for item in argv]
    if order.get("landlock"):
        restrict_files(order["landlock"]["read"], order["landlock"]["write"])
    if bpf and not order.get("seccomp_fd"):
        load_filter(bpf)
    os.execvpe(argv[0], argv, os.environ if environment is None else environment)


if __name__ == "__main__":
    try:
        main(json.loads(sys.argv[1]), sys.argv[2:])
    except OSError as error:
        print(f"cannot start {sys.argv[2:3]}: {error}", file=sys.stderr, flush=True)
        os._exit(126)
