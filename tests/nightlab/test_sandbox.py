"""Containment at every level that this host offers: what is reachable, what is not, and that nothing survives."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from nightlab import confine, seccomp
from nightlab.errors import SandboxError, UsageError
from nightlab.sandbox import BASE_ENV, LEVELS, Level, Limits, Sandbox, _trouble, probe

ROOT = Path(__file__).resolve().parents[2]
CONTAINED: tuple[Level, ...] = tuple(level for level in ("bwrap", "landlock") if _trouble(level) is None)  # type: ignore[misc]
contained = pytest.mark.parametrize("level", CONTAINED)

PROLOGUE = """
import errno, json, os, socket, sys
found = {}
def attempt(name, call):
    try:
        found[name] = str(call())
    except BaseException as error:
        found[name] = type(error).__name__
"""


def inside(
    level: Level, attempts: str, *, limits: Limits | None = None, pass_fds: tuple[int, ...] = (), **mounts: Any
) -> dict[str, str]:
    """Run lines `name: expression` inside; name → what came of it (a value as text, or the name of the exception)."""
    sandbox = Sandbox(level)
    lines = [line.strip().partition(":") for line in attempts.strip().splitlines()]
    code = PROLOGUE + f"sys.path += {sandbox.site_packages()!r}\n"
    code += "".join(f"attempt({name.strip()!r}, lambda: {expression.strip()})\n" for name, _, expression in lines)
    argv = sandbox.wrap([*sandbox.python(), "-c", code + "print(json.dumps(found))"], limits=limits, **mounts)
    done = subprocess.run(argv, capture_output=True, timeout=30, check=False, start_new_session=True, pass_fds=pass_fds)
    assert done.returncode == 0, done.stderr.decode()
    found: dict[str, str] = json.loads(done.stdout)
    return found


def test_probe_takes_the_strongest_level_that_works_and_says_which() -> None:
    found = probe()
    assert found.level == (*CONTAINED, "rlimits")[0]
    assert found.level in found.line or "NO SANDBOX" in found.line
    assert Sandbox().level == found.level


def test_an_unknown_level_is_refused() -> None:
    with pytest.raises(UsageError, match=r"unknown sandbox level 'docker'; there are: bwrap, landlock, rlimits"):
        Sandbox("docker")  # type: ignore[arg-type]


def test_a_mount_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SandboxError, match=r"cannot mount .*nowhere in the sandbox: it does not exist"):
        Sandbox("rlimits").wrap(["true"], read_only=[tmp_path / "nowhere"])


@contained
def test_files_of_the_host_are_out_of_reach(level: Level, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("token")
    found = inside(
        level,
        f"""
        shadow: open("/etc/shadow").read()
        passwd: open("/etc/passwd").read()
        project: open({str(ROOT / "nightlab" / "sandbox.py")!r}).read()
        listing: os.listdir({str(ROOT / "nightlab")!r})
        secret: open({str(tmp_path / "secret")!r}).read()
        write: open("/usr/x", "w")
        environment: sorted(os.environ)
        parents: open(f"/proc/{{os.getppid()}}/environ").read()
        numpy: __import__("numpy").ones(2).sum()
        """,
    )
    denied = {"FileNotFoundError", "PermissionError", "OSError", "NotADirectoryError"}
    assert {name for name, said in found.items() if said in denied} >= {
        "shadow", "passwd", "project", "listing", "secret", "write",
    }  # fmt: skip
    assert set(json.loads(found["environment"].replace("'", '"'))) <= {*BASE_ENV, "PWD", "LC_CTYPE"}
    assert found["numpy"] == "2.0"


@contained
def test_no_environment_of_the_host_shows_in_any_process_inside(level: Level, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NIGHTLAB_TEST_TOKEN", "very-secret")
    found = inside(
        level,
        """
        one: open("/proc/1/environ").read()
        parent: open(f"/proc/{os.getppid()}/environ").read()
        self: open("/proc/self/environ").read()
        env: os.environ["NIGHTLAB_TEST_TOKEN"]
        """,
    )
    assert "very-secret" not in json.dumps(found)
    assert found["env"] == "KeyError"


@contained
def test_no_network_no_sockets_of_the_host(level: Level, tmp_path: Path) -> None:
    path = str(tmp_path / "keeper.sock")
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket(socket.AF_UNIX) as local:
        local.bind(path)
        local.listen()
        found = inside(
            level,
            f"""
            tcp: socket.create_connection(("127.0.0.1", {server.getsockname()[1]}), 1)
            udp: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("127.0.0.1", 9))
            raw: socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
            unix: socket.socket(socket.AF_UNIX).connect({path!r})
            datagram: socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)[0].sendto(b"x", {path!r})
            pair: [end.close() for end in socket.socketpair()]
            """,
        )
    for name in ("tcp", "udp", "raw", "unix", "datagram"):
        assert found[name] in {"PermissionError", "FileNotFoundError", "OSError"}, (name, found)
    assert found["pair"] == "[None, None]"


@contained
def test_no_processes_no_signals_no_tracing(level: Level) -> None:
    found = inside(
        level,
        f"""
        fork: os.fork() or os._exit(0)
        run: __import__("subprocess").run(["true"])
        kill: os.kill({os.getpid()}, 0)
        ptrace: (__import__("ctypes").CDLL(None).ptrace(16, {os.getpid()}, 0, 0))
        unshare: __import__("ctypes").CDLL(None).unshare(0x10000000)
        thread: __import__("threading").Thread(target=int).start()
        """,
    )
    assert found["fork"] == found["run"] == "PermissionError"
    assert found["kill"] in {"PermissionError", "ProcessLookupError"}
    assert found["ptrace"] == found["unshare"] == "-1"
    assert found["thread"] == "None"


@contained
def test_memory_and_files_are_bounded(level: Level, tmp_path: Path) -> None:
    limits = Limits(memory_mib=512, file_mib=1)
    found = inside(
        level,
        f"""
        memory: bytearray(1 << 30)
        file: open({Sandbox(level).inside(tmp_path, "/out")!r} + "/big", "wb").write(b"x" * (2 << 20))
        core: __import__("resource").getrlimit(4)
        """,
        limits=limits,
        read_write=[(tmp_path, "/out")],
    )
    assert found["memory"] == "MemoryError"
    assert found["file"] == "OSError"
    assert found["core"] == "(0, 0)"


@contained
def test_mounts_are_read_only_or_writable_as_asked(level: Level, tmp_path: Path) -> None:
    code, out = tmp_path / "code", tmp_path / "out"
    code.mkdir()
    out.mkdir()
    (code / "policy.py").write_text("text")
    place = Sandbox(level).inside
    found = inside(
        level,
        f"""
        read: open({place(code, "/code")!r} + "/policy.py").read()
        change: open({place(code, "/code")!r} + "/policy.py", "w")
        remove: os.unlink({place(code, "/code")!r} + "/policy.py")
        make: open({place(out, "/out")!r} + "/made", "w").write("xyz")
        link: os.link({place(code, "/code")!r} + "/policy.py", {place(out, "/out")!r} + "/link")
        """,
        read_only=[(code, "/code")],
        read_write=[(out, "/out")],
    )
    assert found["read"] == "text"
    assert {found["change"], found["remove"], found["link"]} <= {"OSError", "PermissionError"}
    assert (out / "made").read_text() == "xyz"
    assert (code / "policy.py").read_text() == "text"


@contained
def test_an_inherited_socket_works(level: Level) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        number = theirs.fileno()
        found = inside(level, f"sent: socket.socket(fileno={number}).sendall(b'hello')", pass_fds=(number,))
        assert found["sent"] == "None"
        assert ours.recv(9) == b"hello"


@contained
def test_child_processes_where_allowed(level: Level) -> None:
    found = inside(
        level,
        """
        run: __import__("subprocess").run(["true"]).returncode
        namespaces: __import__("ctypes").CDLL(None).unshare(0x10000000)
        """,
        limits=Limits(processes=32),
    )
    assert found["run"] == "0"
    assert found["namespaces"] == "-1"


@contained
def test_killing_the_group_ends_everything_inside(level: Level) -> None:
    sandbox = Sandbox(level)
    marker = f"nightlab-test-{os.getpid()}-{time.time_ns()}"
    argv = sandbox.wrap(["sh", "-c", f"sleep 61 & sleep 61; : {marker}"], limits=Limits(processes=32))
    process = subprocess.Popen(argv, start_new_session=True)
    assert _wait_for(lambda: _running(marker) >= 1)
    os.killpg(process.pid, 9)
    process.wait()
    assert _wait_for(lambda: _running(marker) == 0)


def _running(marker: str) -> int:
    count = 0
    for name in os.listdir("/proc"):
        try:
            count += name.isdigit() and marker.encode() in Path(f"/proc/{name}/cmdline").read_bytes()
        except OSError:
            continue
    return count


def _wait_for(condition: Any, timeout_s: float = 5.0) -> bool:
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def test_the_weakest_level_bounds_memory_and_clears_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NIGHTLAB_TEST_TOKEN", "very-secret")
    found = inside(
        "rlimits",
        """
        memory: bytearray(1 << 30)
        environment: sorted(os.environ)
        """,
        limits=Limits(memory_mib=512),
    )
    assert found["memory"] == "MemoryError"
    assert "NIGHTLAB_TEST_TOKEN" not in found["environment"]


def test_the_weakest_level_is_announced_loudly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    assert _trouble("bwrap") == "bwrap is missing; fix: apt-get install bubblewrap"
    monkeypatch.setattr(confine, "landlock_abi", lambda: 0)
    probe.cache_clear()
    try:
        found = probe()
    finally:
        probe.cache_clear()
    assert found.level == LEVELS[-1]
    assert found.line.startswith("NO SANDBOX, resource limits only")
    assert "apt-get install bubblewrap" in found.line
    assert "simulated stations only" in found.line


def test_filters_fit_the_kernel() -> None:
    for shared in (False, True):
        for processes in (False, True):
            for network in (False, True):
                bpf = seccomp.build(shared_host=shared, processes=processes, network=network)
                assert len(bpf) % 8 == 0
                assert len(bpf) // 8 < 4096
