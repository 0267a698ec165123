"""Seccomp filters as bytes: which system calls a contained process may not make. Assembled here, without a library.

A filter is an array of classic BPF instructions (`struct sock_filter`, 8 bytes each). Denied calls fail with EPERM;
`clone3` fails with ENOSYS so that the C library falls back to `clone`, whose flags a filter can read.
"""

from __future__ import annotations

import errno
import platform
import struct
from collections.abc import Iterable
from typing import Final

_ARCHITECTURES: Final = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}
_X32_BIT: Final = 0x40000000
_ALLOW: Final = 0x7FFF0000
_KILL: Final = 0x80000000
_ERRNO: Final = 0x00050000
_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_CLONE_THREAD: Final = 0x00010000
_CLONE_NEW: Final = 0x7E020000
"""All CLONE_NEW… flags: no namespaces of one's own."""
_AF_UNIX: Final = 1

# name: (x86_64, aarch64); None where the architecture lacks the call.
Table = dict[str, tuple[int | None, int | None]]
ALWAYS_DENIED: Final[Table] = {
    "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271), "kcmp": (312, 272),
    "pidfd_getfd": (438, 438), "mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41), "chroot": (161, 51),
    "unshare": (272, 97), "setns": (308, 268), "fsopen": (430, 430), "fsconfig": (431, 431), "fsmount": (432, 432),
    "fspick": (433, 433), "open_tree": (428, 428), "move_mount": (429, 429), "mount_setattr": (442, 442),
    "bpf": (321, 280), "perf_event_open": (298, 241), "io_uring_setup": (425, 425), "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427), "add_key": (248, 217), "request_key": (249, 218), "keyctl": (250, 219),
    "userfaultfd": (323, 282), "kexec_load": (246, 104), "kexec_file_load": (320, 294), "init_module": (175, 105),
    "finit_module": (313, 273), "delete_module": (176, 106), "reboot": (169, 142), "swapon": (167, 224),
    "swapoff": (168, 225), "name_to_handle_at": (303, 264), "open_by_handle_at": (304, 265), "quotactl": (179, 60),
    "acct": (163, 89), "settimeofday": (164, 170), "clock_settime": (227, 112), "syslog": (103, 116),
    "personality": (135, 92),
}  # fmt: skip
SHARED_HOST_DENIED: Final[Table] = {
    "chmod": (90, None), "fchmod": (91, 52), "fchmodat": (268, 53), "fchmodat2": (452, 452), "chown": (92, None),
    "fchown": (93, 55), "lchown": (94, None), "fchownat": (260, 54), "setxattr": (188, 5), "lsetxattr": (189, 6),
    "fsetxattr": (190, 7), "removexattr": (197, 14), "lremovexattr": (198, 15), "fremovexattr": (199, 16),
    "utime": (132, None), "utimes": (235, None), "utimensat": (280, 88), "futimesat": (261, None),
    "setsid": (112, 157), "setpgid": (109, 154), "setpriority": (141, 140), "sched_setparam": (142, 118),
    "sched_setscheduler": (144, 119), "sched_setattr": (314, 274), "sched_setaffinity": (203, 122),
    "migrate_pages": (256, 238), "move_pages": (279, 239), "shmget": (29, 194), "msgget": (68, 186),
    "semget": (64, 190), "mq_open": (240, 180),
}  # fmt: skip
"""Denied besides where the file system, pids and IPC are the host's own: what Landlock does not see."""
NO_NETWORK_DENIED: Final[Table] = {
    "socket": (41, 198), "connect": (42, 203), "bind": (49, 200), "sendmsg": (46, 211), "sendmmsg": (307, 269),
}  # fmt: skip
SIGNALS: Final[Table] = {
    "kill": (62, 129), "tkill": (200, 130), "tgkill": (234, 131), "rt_sigqueueinfo": (129, 138),
    "rt_tgsigqueueinfo": (297, 240), "pidfd_send_signal": (424, 424),
}  # fmt: skip
FORKS: Final[Table] = {"fork": (57, None), "vfork": (58, None)}
SPECIAL: Final[Table] = {
    "clone": (56, 220), "clone3": (435, 435), "socket": (41, 198), "sendto": (44, 206), "prlimit64": (302, 261),
}  # fmt: skip


def supported() -> bool:
    """Whether a filter can be assembled for this machine."""
    return platform.system() == "Linux" and platform.machine() in _ARCHITECTURES


def build(*, shared_host: bool, processes: bool, network: bool) -> bytes:
    """A filter for this machine; empty if its architecture has no table here.

    Args:
        shared_host: The process has the host's own file system and pids (Landlock level), not namespaces (bwrap).
        processes: It may start child processes and send signals.
        network: It may open sockets. Without, only AF_UNIX ones (bwrap: nothing is mounted to reach) or none.
    """
    if not supported():
        return b""
    column, architecture = _ARCHITECTURES[platform.machine()]
    program = [(_LOAD, 0, 0, 4), (_EQUAL, 1, 0, architecture), (_RETURN, 0, 0, _KILL), (_LOAD, 0, 0, 0)]
    if column == 0:
        program += [(_AT_LEAST, 0, 1, _X32_BIT), (_RETURN, 0, 0, _ERRNO | errno.EPERM)]
    tables = [ALWAYS_DENIED]
    if not processes:
        tables.append(FORKS)
    if shared_host:
        tables.append(SHARED_HOST_DENIED)
        if not processes:
            tables.append(SIGNALS)
        if not network:
            tables.append(NO_NETWORK_DENIED)
    for table in tables:
        program += _deny(numbers[column] for numbers in table.values())
    number = {name: numbers[column] or 0 for name, numbers in SPECIAL.items()}
    program += _returning(number["clone3"], errno.ENOSYS)
    if processes:
        program += _when(number["clone"], [(_LOAD, 0, 0, 16), (_ANY_BIT, 0, 1, _CLONE_NEW), _refused()])
    else:
        program += _when(number["clone"], [(_LOAD, 0, 0, 16), (_ANY_BIT, 1, 0, _CLONE_THREAD), _refused()])
    if not network:
        program += _when(number["socket"], [(_LOAD, 0, 0, 16), (_EQUAL, 1, 0, _AF_UNIX), _refused()])
    if shared_host:
        if not network:  # sendto may not name an address: argument 4, both halves, must be null
            for half in (48, 52):
                program += _when(number["sendto"], [(_LOAD, 0, 0, half), (_EQUAL, 1, 0, 0), _refused()])
        program += _when(number["prlimit64"], [(_LOAD, 0, 0, 16), (_EQUAL, 1, 0, 0), _refused()])
    program.append((_RETURN, 0, 0, _ALLOW))
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in program)


_Instruction = tuple[int, int, int, int]


def _refused(number: int = errno.EPERM) -> _Instruction:
    return (_RETURN, 0, 0, _ERRNO | number)


def _returning(call: int, number: int) -> list[_Instruction]:
    return [(_EQUAL, 0, 1, call), _refused(number)]


def _deny(calls: Iterable[int | None]) -> list[_Instruction]:
    return [part for call in calls if call is not None for part in _returning(call, errno.EPERM)]


def _when(call: int, body: list[_Instruction]) -> list[_Instruction]:
    """`body` for one call, then its number loaded again for what follows."""
    return [(_EQUAL, 0, len(body) + 1, call), *body, (_LOAD, 0, 0, 0)]
