"""Where untrusted code runs: deny by default, no network, no secrets, bounded in memory, processor and processes.

Three levels, the strongest that really works is taken:

- `bwrap`: own namespaces (bubblewrap); sees the system's libraries, the Python environment and what is mounted.
- `landlock`: the host's namespaces, but Landlock denies files and seccomp denies sockets, signals and new processes.
- `rlimits`: bounded resources only. Contains mistakes, not malice: for simulated stations, and said loudly.

`Sandbox.wrap` gives an argv; any way of starting processes will do, best with `start_new_session=True`. Killing that
process ends everything inside. Paths inside differ from the host's at the level `bwrap` only: ask `Sandbox.inside`.
"""

from __future__ import annotations

import base64
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final, Literal

from nightlab import cards, confine, seccomp
from nightlab.errors import SandboxError, UsageError
from nightlab.processes import launcher

Level = Literal["bwrap", "landlock", "rlimits"]
LEVELS: Final[tuple[Level, ...]] = ("bwrap", "landlock", "rlimits")
ROOMS: Final = ("agents", "commands", "data", "environments", "flows", "nightlab", "policies", "robots", "tasks")
TMP_MIB: Final = 64
"""Size of the sandbox's own /tmp and /dev/shm (level bwrap)."""
PROBE_S: Final = 5.0
BASE_ENV: Final = {
    "PATH": "/usr/local/bin:/usr/bin:/bin",
    "HOME": "/tmp",
    "USER": "nobody",
    "LANG": "C.UTF-8",
    "HF_HUB_OFFLINE": "1",
    "PYTHONDONTWRITEBYTECODE": "1",
    **{f"{name}_NUM_THREADS": "1" for name in ("OMP", "MKL", "OPENBLAS", "NUMEXPR", "VECLIB_MAXIMUM")},
}
"""All of a sandbox's environment, before what the caller adds. Torch takes its threads from OMP_NUM_THREADS."""
_SYSTEM_DIRS: Final = ("/lib", "/lib32", "/lib64", "/libx32", "/bin", "/sbin")
_SYSTEM_FILES: Final = ("/etc/ld.so.cache", "/etc/alternatives", "/etc/localtime")
_NETWORK_FILES: Final = ("/etc/resolv.conf", "/etc/hosts", "/etc/nsswitch.conf", "/etc/ssl", "/etc/ca-certificates")
_DEVICES: Final = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")
_FACTS: Final = ("/proc/cpuinfo", "/proc/meminfo", "/sys/devices/system/cpu")
_INNER_LAUNCHER: Final = "/confine.py"


@dataclass(frozen=True, slots=True)
class Limits:
    """Resources of one sandboxed process."""

    memory_mib: int = 4096
    """Address space; bounds what it can allocate."""
    cpu_s: int = 7200
    file_mib: int = 256
    """Largest file it may write."""
    open_files: int = 256
    processes: int = 0
    """Child processes at a time; 0 = none can be started (threads can). More than 0 is not enforced when nightlab runs
    as root: the kernel exempts root from RLIMIT_NPROC."""


@dataclass(frozen=True, slots=True)
class Probe:
    """What containment this host offers."""

    level: Level
    line: str
    """One sentence: which level, and why not a stronger one."""


class Sandbox:
    """Containment at one level; without a level, the strongest that this host offers. Raises UsageError if unknown."""

    def __init__(self, level: Level | None = None) -> None:
        if level is not None and level not in LEVELS:
            raise UsageError.unknown("sandbox level", str(level), LEVELS, "nightlab doctor")
        self.level: Level = level or probe().level

    def inside(self, host: Path, mount: str) -> str:
        """Where the host's `host`, mounted at `mount`, is found from within."""
        return mount if self.level == "bwrap" else str(host.resolve())

    def python(self) -> list[str]:
        """The interpreter from within: isolated, no `site`, so that no `.pth` file of the environment is run."""
        return [os.path.realpath(sys.executable), "-I", "-S"]

    def site_packages(self) -> list[str]:
        """Directories of installed packages, to be put on `sys.path` within."""
        return list(dict.fromkeys(sysconfig.get_paths()[name] for name in ("purelib", "platlib")))

    def wrap(
        self,
        argv: Sequence[str | Path],
        *,
        read_only: Sequence[Path | tuple[Path, str]] = (),
        read_write: Sequence[Path | tuple[Path, str]] = (),
        cwd: str | None = None,
        env: Mapping[str, str] | None = None,
        limits: Limits | None = None,
        network: bool = False,
    ) -> list[str]:
        """The argv that runs `argv` inside.

        Args:
            argv: Program and arguments, in paths from within.
            read_only: Files and directories that it may read: a path, or (path, where it is mounted).
            read_write: The same for what it may write. Nothing else is writable but a small /tmp at level bwrap.
            cwd: Working directory from within.
            env: Added to `BASE_ENV`; nothing of the caller's environment goes in.
            limits: Resources.
            network: Gives it the host's network; for researchers that talk to a model, never for policies.

        Raises:
            SandboxError: a path to be mounted does not exist.
        """
        limits = limits or Limits()
        reads, writes = [_pair(item) for item in read_only], [_pair(item) for item in read_write]
        for host, _ in (*reads, *writes):
            if not host.exists():
                raise SandboxError(f"cannot mount {host} in the sandbox: it does not exist; make it first")
        environment = {**BASE_ENV, **(env or {})}
        command = [str(item) for item in argv]
        order: dict[str, object] = {"rlimits": _rlimits(limits)}
        if self.level != "bwrap":
            order |= {"die": int(signal.SIGKILL), "env": environment, "cwd": cwd or "/"}
            if limits.processes:
                order["nproc"] = limits.processes
        if self.level == "landlock":
            order["landlock"] = _landlock(reads, writes, network)
        if self.level != "rlimits":
            bpf = seccomp.build(shared_host=self.level == "landlock", processes=limits.processes > 0, network=network)
            order |= {"seccomp": base64.b64encode(bpf).decode(), "seccomp_fd": self.level == "bwrap"}
            if self.level == "bwrap":
                order["env"] = {
                    "PATH": os.environ.get("PATH", os.defpath)
                }  # bwrap's own, readable from within as pid 1's
                command = _bwrap(command, reads, writes, cwd or "/tmp", environment, limits, network, bool(bpf))
        return launcher(order, command)


def _pair(item: Path | tuple[Path, str]) -> tuple[Path, str]:
    host, mount = item if isinstance(item, tuple) else (item, str(item.absolute()))
    return host.resolve(), mount


def _rlimits(limits: Limits) -> dict[str, int]:
    mebi = 1024 * 1024
    return {
        "AS": limits.memory_mib * mebi,
        "CPU": limits.cpu_s,
        "FSIZE": limits.file_mib * mebi,
        "NOFILE": limits.open_files,
        "CORE": 0,
    }


def _python_dirs() -> list[Path]:
    """The Python environment: the virtual one, and the base installation where it is not a part of /usr."""
    asked = [sys.prefix, sys.base_prefix, *(sysconfig.get_paths()[name] for name in ("stdlib", "purelib", "platlib"))]
    found: list[Path] = []
    for path in map(Path, asked):
        if path.is_dir() and not path.is_relative_to("/usr") and not any(path.is_relative_to(have) for have in found):
            found.append(path)
    return found


def _own_rooms() -> list[Path]:
    """What is installed among the packages and must be hidden: rooms of nightlab (a wheel), and environments."""
    homes = {Path(sysconfig.get_paths()[name]) for name in ("purelib", "platlib")}
    rooms = [home / room for home in homes for room in ROOMS if (home / room / "__init__.py").is_file()]
    return rooms + [path for path in cards.outside() if any(path.is_relative_to(top) for top in _python_dirs())]


def _bwrap(
    argv: list[str],
    reads: Sequence[tuple[Path, str]],
    writes: Sequence[tuple[Path, str]],
    cwd: str,
    env: Mapping[str, str],
    limits: Limits,
    network: bool,
    filtered: bool,
) -> list[str]:
    out = ["bwrap", "--unshare-user", "--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try"]
    out += [] if network else ["--unshare-net"]
    out += ["--disable-userns", "--uid", "65534", "--gid", "65534", "--die-with-parent", "--new-session"]
    out += ["--cap-drop", "ALL", "--hostname", "sandbox", "--clearenv", "--ro-bind", "/usr", "/usr"]
    for path in _SYSTEM_DIRS:
        if os.path.islink(path):
            out += ["--symlink", os.readlink(path), path]
        elif os.path.isdir(path):
            out += ["--ro-bind", path, path]
    for path in (*_SYSTEM_FILES, *(_NETWORK_FILES if network else ())):
        out += ["--ro-bind-try", path, path]
    out += ["--proc", "/proc", "--dev", "/dev"]
    for path in ("/tmp", "/dev/shm"):
        out += ["--size", str(TMP_MIB * 1024 * 1024), "--tmpfs", path]
    for path in map(str, _python_dirs()):
        out += ["--ro-bind", path, path]
    for path in map(str, _own_rooms()):
        out += ["--tmpfs", path]
    for host, mount in reads:
        out += ["--ro-bind", str(host), mount]
    for host, mount in writes:
        out += ["--bind", str(host), mount]
    if limits.processes:  # within the user namespace only its own processes count
        out += ["--ro-bind", str(confine.__file__), _INNER_LAUNCHER]
        inner = launcher({"rlimits": {"NPROC": limits.processes}}, argv)
        argv = [os.path.realpath(sys.executable), *inner[1:3], _INNER_LAUNCHER, *inner[4:]]
    for key, value in env.items():
        out += ["--setenv", key, value]
    out += ["--seccomp", "{seccomp}"] if filtered else []
    return [*out, "--chdir", cwd, "--", *argv]


def _landlock(
    reads: Sequence[tuple[Path, str]], writes: Sequence[tuple[Path, str]], network: bool
) -> dict[str, list[str]]:
    hidden = set(_own_rooms())
    read = ["/usr", *_SYSTEM_DIRS, *_SYSTEM_FILES, *_DEVICES, *_FACTS, *(_NETWORK_FILES if network else ())]
    for path in _python_dirs():
        # Landlock allows whole trees: where nightlab's rooms are installed in one, its other parts are named instead.
        read += map(str, _without(path, hidden))
    return {
        "read": [*read, *(str(host) for host, _ in reads)],
        "write": ["/dev/null", *(str(host) for host, _ in writes)],
    }


def _without(top: Path, hidden: set[Path]) -> list[Path]:
    if not any(path.is_relative_to(top) for path in hidden):
        return [top]
    if top in hidden:
        return []
    return [kept for child in sorted(top.iterdir()) for kept in _without(child, hidden)]


@lru_cache(maxsize=1)
def probe() -> Probe:
    """The strongest level that works here, tried for real, once per process (about 50 ms)."""
    problem = _trouble("bwrap")
    if problem is None:
        return Probe("bwrap", "sandbox bwrap: own namespaces, no network, nothing of the host but what is mounted")
    weaker = _trouble("landlock")
    if weaker is None:
        return Probe("landlock", f"sandbox landlock: files, sockets and signals are denied, pids are seen ({problem})")
    return Probe(
        "rlimits",
        f"NO SANDBOX, resource limits only: untrusted code can read and change this account's files; "
        f"simulated stations only ({problem}; {weaker})",
    )


def _too_slow(level: Level) -> str | None:
    """A level that has not answered within `PROBE_S` is taken all the same.

    Else whoever keeps the host busy would lift the sandbox of everybody. If it does not work after all, nothing starts.
    """
    return None


def _trouble(level: Level) -> str | None:
    """Why a level does not work here, with the fix; None if it does."""
    if sys.platform != "linux":
        return f"{level} needs Linux; run nightlab in a Linux container"
    if level == "bwrap" and shutil.which("bwrap") is None:
        return "bwrap is missing; fix: apt-get install bubblewrap"
    if level == "landlock" and not seccomp.supported():
        return "no seccomp table for this processor"
    if level == "landlock" and confine.landlock_abi() < 1:
        return "the kernel has no Landlock; fix: Linux 5.13 or later with lsm=landlock"
    sandbox = Sandbox(level)
    argv = sandbox.wrap([*sandbox.python(), "-c", "open('/etc/ld.so.cache').close()"])
    try:
        done = subprocess.run(argv, capture_output=True, timeout=PROBE_S, check=False, start_new_session=True)
    except subprocess.TimeoutExpired:
        return _too_slow(level)
    except OSError as error:
        return f"{level} does not start: {error}"
    if done.returncode == 0:
        return None
    said = done.stderr.decode(errors="replace").strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
    hint = (
        "; fix on Ubuntu: the AppArmor profile bwrap-userns-restrict, in a container: --security-opt seccomp=unconfined"
    )
    return f"{level} does not start: {said[0][:200]}{hint if level == 'bwrap' else ''}"
