"""The control streams of a station, whatever carries them: `open`, then requests and replies in lockstep."""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from nightlab.contracts import Values
from nightlab.errors import NightlabError, StationError
from robots import wire
from robots.cell import Cell
from robots.session import Reply

MAX_STREAMS = 8
"""Control streams at a time, silent ones included; one of them can have the robot."""


class ControlStreams:
    """Thread-safe."""

    def __init__(self, cell: Cell) -> None:
        self._cell = cell
        self._free = threading.BoundedSemaphore(MAX_STREAMS)

    @contextmanager
    def slot(self) -> Iterator[None]:
        """Room for one stream. Raises StationError when there is none."""
        if not self._free.acquire(blocking=False):
            raise StationError(f"{MAX_STREAMS} control streams are open; close one")
        try:
            yield
        finally:
            self._free.release()

    def open(self, token: str, label: str) -> ControlStream:
        """A stream with the robot. Raises NightlabError."""
        return ControlStream(self._cell, token, label)


class ControlStream:
    """One stream. Only `close` may be called from another thread than that of its transport.

    Args:
        cell: the station.
        token: of the lease.
        label: shown in the station's stats.
    """

    def __init__(self, cell: Cell, token: str, label: str) -> None:
        self._cell, self._token = cell, token
        self._session, self.opened = cell.open_session(token, label)

    def ask(self, chunk: Sequence[Values] | None, film: bool) -> Reply:
        """Step, or hold (None); an error is a reply, too."""
        try:
            return self._cell.run(self._session, self._token, chunk, film)
        except Exception as error:
            return self.refused(error)

    def post(self, chunk: Sequence[Values] | None, film: bool, done: Callable[[Reply], None]) -> None:
        """The same without waiting; `done` takes the reply, mostly on the control thread."""

        def carried_out(outcome: Reply | Exception) -> None:
            done(outcome if isinstance(outcome, Reply) else self.refused(outcome))

        try:
            self._cell.run_later(self._session, self._token, chunk, film, carried_out)
        except Exception as error:
            done(self.refused(error))

    def refused(self, error: Exception) -> Reply:
        """An error as a reply, with what ran before it."""
        return refusal(error, self._session.refused())

    def close(self) -> None:
        """The robot holds: the present period is the last. Idempotent; does not wait."""
        self._cell.close_session(self._session)


def ends(reply: Reply) -> bool:
    """Whether a stream is over after this reply."""
    return reply.error_kind not in ("", "SafetyError")


def refusal(error: Exception, into: Reply | None = None) -> Reply:
    """An error as a reply."""
    if not isinstance(error, NightlabError):
        traceback.print_exception(error)
    out = Reply() if into is None else into
    out.error_kind, out.error = wire.kind_of(error), wire.status_of(error)[1]
    return out
