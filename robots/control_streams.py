"""The control streams of a station, whatever carries them: `open`, then requests and replies in lockstep."""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nightlab.errors import NightlabError, SafetyError, StationError
from robots import station_pb2 as pb
from robots import wire
from robots.cell import Cell
from robots.session import Reply

MAX_STREAMS = 8
"""Control streams at a time, silent ones included; one of them can have the robot."""
JPEG_QUALITY = 85


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

    def open(self, first: pb.ControlRequest | None) -> ControlStream:
        """A stream from its first message. Raises NightlabError."""
        if first is None or first.WhichOneof("ask") != "open":
            raise SafetyError("the first message of a control stream is `open`")
        return ControlStream(self._cell, first.open.token, first.open.label)


class ControlStream:
    """One stream. Only `close` may be called from another thread than that of its transport.

    Args:
        cell: the station.
        token: of the lease.
        label: shown in the station's stats.
    """

    def __init__(self, cell: Cell, token: str, label: str) -> None:
        self._cell, self._token = cell, token
        self._session, opened = cell.open_session(token, label)
        self.opened = packed(opened)
        """The first reply."""

    def ask(self, request: pb.ControlRequest) -> pb.ControlReply:
        """The reply to a request; an error is one, too."""
        try:
            return packed(self._cell.run(self._session, self._token, _chunk(request), request.film))
        except Exception as error:
            return self._refused(error)

    def post(self, request: pb.ControlRequest, done: Callable[[Callable[[], pb.ControlReply]], None]) -> None:
        """The same without waiting.

        Args:
            request: `step` or `hold`.
            done: takes a function that makes the reply, mostly on the control thread.
        """
        try:
            self._cell.run_later(
                self._session, self._token, _chunk(request), request.film, lambda made: done(lambda: self._reply(made))
            )
        except Exception as error:
            refused = self._refused(error)
            done(lambda: refused)

    def close(self) -> None:
        """The robot holds: the present period is the last. Idempotent; does not wait."""
        self._cell.close_session(self._session)

    def _reply(self, outcome: Reply | Exception) -> pb.ControlReply:
        try:
            return packed(outcome) if isinstance(outcome, Reply) else self._refused(outcome)
        except Exception as error:
            return self._refused(error)

    def _refused(self, error: Exception) -> pb.ControlReply:
        if not isinstance(error, NightlabError):
            traceback.print_exception(error)
        return refusal(error, packed(self._session.refused()))


def ends(reply: pb.ControlReply) -> bool:
    """Whether a stream is over after this reply."""
    return reply.error_kind not in ("", "SafetyError")


def refusal(error: Exception, into: pb.ControlReply | None = None) -> pb.ControlReply:
    """An error as a reply."""
    out = pb.ControlReply() if into is None else into
    out.error_kind, out.error = wire.kind_of(error), wire.status_of(error)[1]
    return out


def packed(reply: Reply) -> pb.ControlReply:
    """A reply as a message."""
    out = pb.ControlReply(periods=reply.periods, late=reply.late, clamped=reply.clamped, waited_s=reply.waited_s or 0.0)
    for tick, picture in zip(reply.observations, reply.pictures, strict=True):
        message = wire.pack_tick(tick, out.observations.add())
        if picture is not None:
            message.image_jpeg = _jpeg(picture)
    return out


def _chunk(request: pb.ControlRequest) -> list[dict[str, Any]] | None:
    """The actions of a step; None for a hold."""
    match request.WhichOneof("ask"):
        case "step":
            return [wire.unpack_values(action) for action in request.step.actions]
        case "hold":
            return None
        case other:
            raise StationError(f"after `open` a control stream takes `step` or `hold`, got {other!r}")


def _jpeg(rgb: NDArray[np.uint8]) -> bytes:
    import cv2

    ok, data = cv2.imencode(".jpg", rgb[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    if not ok:
        raise StationError("a picture could not be encoded as JPEG")
    encoded: bytes = data.tobytes()
    return encoded
