"""Control streams on the station's own host: a Unix socket that carries what `Control` of the gRPC service carries.

gRPC in Python took 1.1 ms of processor per message and side on a slow host, a large part of a control step. Messages are
those of robots/control_wire.py. The name comes with the lease, so who may not lease does not learn it, and the lease's
token opens the stream here as there. The socket is abstract: nothing is left behind, and like loopback it ends at the
network namespace. Where there is none (not Linux), gRPC does it.

A thread per connection does nothing but read, so it sees at once that a client has gone, also while its chunk runs. The
control thread answers by itself, without waiting; what would take time (pictures, a client that does not read) goes
through a thread of its own.
"""

from __future__ import annotations

import contextlib
import secrets
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from nightlab.errors import NightlabError, SafetyError, StationError
from nightlab.framing import LENGTH, MAX_FRAME_BYTES
from robots import control_wire
from robots.control_streams import ControlStreams, ends, refusal
from robots.session import Reply
from robots.wire import CONTROL_SOCKET

SEND_S: Final = 5
"""A client that reads nothing for so long has gone."""


class ControlSocket:
    """Serves until `close`.

    Args:
        streams: who answers.
    """

    def __init__(self, streams: ControlStreams) -> None:
        self._streams = streams
        self._lock = threading.Lock()
        self._connections: set[Connection] = set()
        self._slow = ThreadPoolExecutor(1, thread_name_prefix="control-slow")
        self._closing = False
        self.name = ""
        """Of the abstract socket, without its leading zero byte; empty: there is none on this system."""
        if sys.platform.startswith("linux"):
            self.name = f"{CONTROL_SOCKET}{secrets.token_hex(16)}"
            self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self._listener.bind(f"\0{self.name}")
            self._listener.listen()
            threading.Thread(target=self._accept, name="control-socket", daemon=True).start()

    def refuse(self) -> None:
        """Take no new connections."""
        if self.name and not self._closing:
            self._closing = True
            with contextlib.suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """End what is open."""
        self.refuse()
        with self._lock:
            for connection in self._connections:
                connection.hang_up()
        self._slow.shutdown(wait=False)

    def _accept(self) -> None:
        with self._listener:
            while not self._closing:
                try:
                    accepted, _ = self._listener.accept()
                except OSError:
                    if not self._closing:  # out of file descriptors, or the client is gone already
                        time.sleep(0.05)
                    continue
                threading.Thread(target=self._serve, args=(accepted,), name="control-stream", daemon=True).start()

    def _serve(self, accepted: socket.socket) -> None:
        connection = Connection(accepted, self._slow)
        with self._lock:
            self._connections.add(connection)
        try:
            if not self._closing:
                with self._streams.slot():
                    self._stream(connection)
        except Exception as error:
            connection.reply(refusal(error))
        finally:
            with self._lock:
                self._connections.discard(connection)
            connection.close()

    def _stream(self, connection: Connection) -> None:
        bodies = connection.bodies()
        first = next(bodies, None)
        if first is None:
            return
        with contextlib.closing(self._streams.open(*control_wire.unpack_open(first))) as stream:
            connection.reply(stream.opened)
            for body in bodies:
                if connection.busy:
                    raise StationError("a control stream takes one request at a time; the robot holds")
                connection.busy = True
                try:
                    chunk, film = control_wire.unpack_request(body)
                except SafetyError as error:
                    connection.reply(stream.refused(error))
                else:
                    stream.post(chunk, film, connection.slow if film else connection.fast)


class Connection:
    """One client. Replies come from several threads, one at a time."""

    def __init__(self, accepted: socket.socket, slow: ThreadPoolExecutor) -> None:
        self._socket, self._slow = accepted, slow
        self._lock = threading.Lock()
        self.busy = False
        """A request is under way, or its reply."""
        accepted.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", SEND_S, 0))
        self._file = accepted.makefile("rb")

    def bodies(self) -> Iterator[bytes]:
        """The messages that the client sends, until it is gone.

        Raises:
            StationError: it announces one that is too long.
        """
        while True:
            head = self._read(LENGTH.size)
            if len(head) < LENGTH.size:
                return
            (length,) = LENGTH.unpack(head)
            if length > MAX_FRAME_BYTES:
                raise StationError(f"a message of {length} bytes on a control stream; it takes {MAX_FRAME_BYTES}")
            body = self._read(length)
            if len(body) < length:
                return
            yield body

    def fast(self, reply: Reply) -> None:
        """Send a reply without waiting."""
        left, self.busy = _frame(reply), False
        if self._lock.acquire(blocking=False):
            try:
                left = left[self._socket.send(left, socket.MSG_DONTWAIT) :]
                if not left and ends(reply):
                    self._socket.shutdown(socket.SHUT_RDWR)
            except OSError:  # full, or the client is gone
                pass
            finally:
                self._lock.release()
        if left:
            self.busy = True
            self._submit(lambda: self._rest(left, reply))

    def slow(self, reply: Reply) -> None:
        """Make the message and send it in another thread."""
        self._submit(lambda: self.reply(reply))

    def reply(self, reply: Reply) -> None:
        """Send a reply; waits."""
        self._rest(_frame(reply), reply)

    def hang_up(self) -> None:
        """The client reads what was sent, then the end."""
        with self._lock, contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """No thread uses the socket after this."""
        with self._lock, contextlib.suppress(OSError):
            self._file.close()
            self._socket.close()

    def _rest(self, data: memoryview, reply: Reply) -> None:
        self.busy = False
        try:
            with self._lock:
                self._socket.sendall(data)
        except OSError:
            self.hang_up()
            return
        if ends(reply):
            self.hang_up()

    def _submit(self, work: Callable[[], None]) -> None:
        try:
            self._slow.submit(work)
        except RuntimeError:  # the server ends
            self.hang_up()

    def _read(self, size: int) -> bytes:
        try:
            return self._file.read(size)
        except (OSError, ValueError):
            return b""


def _frame(reply: Reply) -> memoryview:
    try:
        body = control_wire.pack_reply(reply)
    except NightlabError as error:  # a picture that is none, or more than a message holds
        reply.observations, reply.pictures = [], []
        body = control_wire.pack_reply(refusal(error, reply))
    return memoryview(LENGTH.pack(len(body)) + body)
