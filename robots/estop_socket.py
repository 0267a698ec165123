"""The e-stop's own way into a station server: a Unix datagram socket and one thread that does nothing else.

`stop REASON` stops at once and latches. `beat NAME` says that the hook of that name lives; one that was announced and is
not heard for `silent_s` stops the robot too, again and again until it is heard. No lease, no gRPC, no queue stands between
the socket and the driver's stop.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from nightlab.errors import StationError

BEGIN_S: Final = 10.0
"""How long a hook may take to be heard for the first time."""
MAX_BYTES: Final = 512


def _heard(path: Path) -> bool:
    """Whether somebody listens on a socket."""
    with contextlib.closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as probe:
        return path.exists() and probe.connect_ex(str(path)) == 0


class EstopSocket:
    """Listens until `close`.

    Args:
        path: of the socket, mode 0600.
        stop: called with the reason, on this thread.
        hooks: names of the hooks that must be heard.
        silent_s: silence of a hook that stops the robot, wall seconds.

    Raises:
        StationError: the socket cannot be made.
    """

    def __init__(
        self, path: Path, stop: Callable[[str], None], hooks: Iterable[str] = (), silent_s: float = 0.5
    ) -> None:
        self.path = path
        self._stop = stop
        self._silent_s = silent_s
        now_s = time.monotonic()
        self._due = dict.fromkeys(hooks, now_s + BEGIN_S)
        self._closing = False
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            if _heard(path):
                raise StationError(f"a station listens on {path} already. Stop it first, or name this one differently")
            path.unlink(missing_ok=True)
            mask = os.umask(0o177)
            try:
                self._socket.bind(str(path))
            finally:
                os.umask(mask)
        except OSError as error:
            self._socket.close()
            raise StationError(f"e-stop socket {path}: {error}; choose a shorter state_dir in station.yaml") from error
        except StationError:
            self._socket.close()
            raise
        self._socket.settimeout(min(0.05, silent_s / 4))
        self._thread = threading.Thread(target=self._listen, name="estop", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Listen no more."""
        self._closing = True
        self._thread.join(timeout=2.0)
        self._socket.close()
        with contextlib.suppress(OSError):
            self.path.unlink(missing_ok=True)

    def _listen(self) -> None:
        while not self._closing:
            try:
                word, _, rest = self._socket.recv(MAX_BYTES).decode(errors="replace").partition(" ")
            except TimeoutError:
                word = rest = ""
            except OSError as error:
                word, rest = "stop", f"e-stop socket: {error}"
            if word == "stop":
                self._press(rest or "e-stop hook")
            elif word == "beat" and rest in self._due:
                self._due[rest] = time.monotonic() + self._silent_s
            self._miss()

    def _miss(self) -> None:
        now_s = time.monotonic()
        for name, due_s in self._due.items():
            if now_s > due_s and not self._closing:
                self._due[name] = now_s + self._silent_s  # as long as it is silent: clearing does not hold
                self._press(f"the e-stop hook {name!r} is not heard: process or wire is broken")

    def _press(self, reason: str) -> None:
        try:
            self._stop(reason)
        except Exception as error:  # latched all the same; this thread must live
            print(f"e-stop socket: {' '.join(str(error).split())}", file=sys.stderr, flush=True)
