"""A warm Python: one process that has imported Prefect and the flows, and forks a child per flow run in milliseconds.

`python -m commands.warm --socket PATH --preload flows.station,flows.campaign`, started by the fleet. A flow run's
process (`commands/flow_process.py`) hands over its environment and its standard streams and gets the exit status back.
The warm process has a single thread and opens no connection, so forking is safe. Once a file of ours that it imported
has changed it sends flow runs away, and they start cold: an edited flow is never run from memory.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import importlib
import json
import os
import runpy
import selectors
import signal
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from commands.environment import PROJECT
from commands.flow_process import die_with_parent
from nightlab.priority import yield_session

ENGINE = (
    "prefect.engine", "prefect.flow_engine", "prefect.task_engine", "prefect._internal.metrics",
    "prefect._internal.control_listener", "prefect.concurrency._sync", "prefect.utilities.visualization",
    "anyio._backends._asyncio", "encodings.idna", "fastapi", "opentelemetry._logs", "opentelemetry.metrics",
    "rich._emoji_codes",
)  # fmt: skip
"""What Prefect's engine imports for a flow run and for the first subflow and task in it: 0.6 s of processor for each run."""
REQUEST_BYTES = 1 << 20
"""Largest request: an environment as JSON."""


@dataclass(slots=True)
class Job:
    """What a forked child is to do: nothing is left of the server in it."""

    env: dict[str, str]
    cwd: str
    streams: list[int]

    def run(self) -> None:
        """Become the flow run's process; returns or raises as Prefect's engine does."""
        for target, source in enumerate(self.streams):
            os.dup2(source, target)
            os.close(source)
        os.chdir(self.cwd)
        os.environ.clear()
        os.environ.update(self.env)
        sys.argv = ["prefect.engine"]
        sys.modules.pop("prefect.engine", None)  # it runs as __main__ now
        runpy.run_module("prefect.engine", run_name="__main__", alter_sys=True)


class WarmServer:
    """Accepts flow runs on a Unix socket and forks them."""

    def __init__(self, listener: socket.socket, files: dict[Path, int]) -> None:
        self._listener = listener
        self._files = files
        self._selector = selectors.DefaultSelector()
        self._selector.register(listener, selectors.EVENT_READ)
        self._clients: dict[int, socket.socket] = {}
        self._stop = False
        self._wake, wake = socket.socketpair()
        self._wake.setblocking(False)
        wake.setblocking(False)
        self._signalled = wake
        self._selector.register(self._wake, selectors.EVENT_READ)
        signal.set_wakeup_fd(wake.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGTERM, lambda *_: setattr(self, "_stop", True))

    def serve(self) -> Job | None:
        """Serve until SIGTERM (then None); in a forked child it returns the child's job at once."""
        while not self._stop:
            for key, _ in self._selector.select():
                if key.fileobj is self._listener:
                    client, _ = self._listener.accept()
                    job = self._accept(client)
                    if job is not None:
                        return job
                elif key.fileobj is self._wake:
                    with contextlib.suppress(BlockingIOError):
                        self._wake.recv(4096)
                else:
                    self._listen_to(key.data)
            self._reap()
        return None

    def _accept(self, client: socket.socket) -> Job | None:
        client.settimeout(5.0)
        try:
            text, streams, _, _ = socket.recv_fds(client, REQUEST_BYTES, 3)
            while not text.endswith(b"\n"):
                more = client.recv(REQUEST_BYTES)
                if not more:
                    raise ValueError("the request ended early")
                text += more
            request: dict[str, Any] = json.loads(text)
        except (OSError, ValueError):
            client.close()
            return None
        job = Job(env=request["env"], cwd=request["cwd"], streams=list(streams))
        if len(streams) != 3 or self.stale():
            _tell(client, {"cold": True})
            client.close()
            for stream in streams:
                os.close(stream)
            return None
        server = os.getpid()
        pid = os.fork()
        if pid == 0:
            die_with_parent(server)
            self._forget(client)
            return job
        for stream in streams:
            os.close(stream)
        client.setblocking(False)
        self._clients[pid] = client
        self._selector.register(client, selectors.EVENT_READ, data=pid)
        _tell(client, {"pid": pid})
        return None

    def stale(self) -> bool:
        """Whether a file of ours has changed since it was imported."""
        for path, mtime_ns in self._files.items():
            try:
                same = path.stat().st_mtime_ns == mtime_ns
            except OSError:
                same = False
            if not same:
                print(f"warm: {path} was edited; flow runs start cold from now on", flush=True)
                return True
        return False

    def _listen_to(self, pid: int) -> None:
        """A client sends one byte per signal to pass on; if it is gone, so is its flow run."""
        client = self._clients.get(pid)
        if client is None:
            return
        try:
            words = client.recv(64)
        except BlockingIOError:
            return
        except OSError:
            words = b""
        with contextlib.suppress(ProcessLookupError):
            for number in words or [signal.SIGKILL]:
                os.kill(pid, number)
        if not words:
            self._selector.unregister(client)
            client.close()
            del self._clients[pid]

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            client = self._clients.pop(pid, None)
            if client is not None:
                self._selector.unregister(client)
                _tell(client, {"code": os.waitstatus_to_exitcode(status)})
                client.close()

    def _forget(self, client: socket.socket) -> None:
        """Drop the server's side of everything in a forked child."""
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        signal.set_wakeup_fd(-1)
        self._selector.close()
        for open_socket in (client, self._listener, self._wake, self._signalled, *self._clients.values()):
            open_socket.close()


def _tell(client: socket.socket, what: dict[str, object]) -> None:
    with contextlib.suppress(OSError):
        client.sendall(json.dumps(what).encode() + b"\n")


def own_files() -> dict[Path, int]:
    """Modification time in ns of every imported file of this project."""
    found: dict[Path, int] = {}
    for module in list(sys.modules.values()):
        name = getattr(module, "__file__", None)
        if name and PROJECT in Path(name).parents and ".venv" not in Path(name).parts:
            found[Path(name)] = Path(name).stat().st_mtime_ns
    return found


def preload(modules: list[str], load: Callable[[str], object] = importlib.import_module) -> None:
    """Import the engine and the flows; a flow that fails to import fails in its own run instead."""
    for name in (*ENGINE, *modules):
        try:
            load(name)
        except Exception as error:  # whatever a module raises: its flow run will say it again, with its traceback
            print(f"warm: cannot import {name}: {error}", file=sys.stderr, flush=True)


def main(arguments: list[str] | None = None) -> Job | None:
    """Command line of the module; returns a job in a forked child."""
    parser = argparse.ArgumentParser(prog="python -m commands.warm", description=__doc__)
    parser.add_argument("--socket", type=Path, required=True)
    parser.add_argument("--preload", default="", help="comma-separated modules")
    asked = parser.parse_args(arguments)
    yield_session()  # all flow runs; a trial is a session of its own
    preload([name for name in asked.preload.split(",") if name])
    gc.collect()
    gc.freeze()  # else every flow run's collector walks over what was imported here, 0.15 s each time, and copies its pages
    asked.socket.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    try:
        listener.bind(str(asked.socket))
    finally:
        os.umask(before)
    listener.listen(64)
    return WarmServer(listener, own_files()).serve()


if __name__ == "__main__":
    job = main()
    if job is not None:
        job.run()
