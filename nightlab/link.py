"""Frames over a stream socket for an asyncio caller that asks and waits: 4-byte big-endian length, then bytes.

`asyncio.StreamReader` does the same with two awaits and a timer per message, which a control loop feels. One caller at a
time.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

from nightlab.framing import LENGTH, MAX_FRAME_BYTES, FramingError

UNASKED_BYTES: Final = 64 * 1024
"""What may arrive while nobody waits; then nothing more is read."""


class Link(asyncio.Protocol):
    """One end of a connection; hand it to `loop.create_connection` or `create_unix_connection`."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._buffer = bytearray()
        self._waiter: asyncio.Future[None] | None = None
        self._paused = False
        self._lost = asyncio.Event()
        self._deadline = 0.0
        self._timer: asyncio.TimerHandle | None = None
        """Rings at the deadline or before it and looks again: one timer for many messages."""
        self._transport: Any = None

    def send(self, body: bytes) -> None:
        """Send one frame; what does not fit into the socket now follows by itself."""
        self._transport.write(LENGTH.pack(len(body)) + body)

    async def receive(self, timeout_s: float) -> bytes:
        """The next frame.

        Raises:
            TimeoutError: none came within `timeout_s`.
            EOFError: the peer closed the connection between two frames.
            FramingError: it did so within one, or announced one that is too long.
        """
        self._deadline = self._loop.time() + timeout_s
        try:
            while not self._whole():
                if self._lost.is_set():
                    if self._buffer:
                        raise FramingError("the peer closed the connection in the middle of a message")
                    raise EOFError("the peer closed the connection")
                if self._paused:
                    self._paused = False
                    self._transport.resume_reading()
                self._waiter = self._loop.create_future()
                if self._timer is None or self._timer.when() > self._deadline:
                    self._ring()
                await self._waiter
        finally:
            self._waiter = None
        end = LENGTH.size + LENGTH.unpack_from(self._buffer)[0]
        body = bytes(memoryview(self._buffer)[LENGTH.size : end])
        del self._buffer[:end]
        return body

    def end(self) -> None:
        """Say that nothing more comes; what the peer still sends can be received."""
        if self._transport.can_write_eof() and not self._transport.is_closing():
            self._transport.write_eof()

    def close(self) -> None:
        """Hang up at once."""
        self._transport.abort()

    async def closed(self) -> None:
        """Wait until the connection is gone."""
        await self._lost.wait()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the loop."""
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Called by the loop."""
        self._buffer += data
        waiter = self._waiter
        if waiter is None:
            if len(self._buffer) > UNASKED_BYTES:
                self._paused = True
                self._transport.pause_reading()
        elif not waiter.done() and self._complete():
            waiter.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by the loop."""
        self._lost.set()
        if self._timer is not None:
            self._timer.cancel()
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _ring(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(self._deadline, self._look)

    def _look(self) -> None:
        self._timer = None
        if self._waiter is None or self._waiter.done():
            return
        if self._loop.time() < self._deadline:
            self._ring()
        else:
            self._waiter.set_exception(TimeoutError())

    def _complete(self) -> bool:
        """Whether there is something to say: a whole frame, or one that is too long."""
        buffer = self._buffer
        if len(buffer) < LENGTH.size:
            return False
        length = LENGTH.unpack_from(buffer)[0]
        return bool(len(buffer) >= LENGTH.size + length or length > MAX_FRAME_BYTES)

    def _whole(self) -> bool:
        if not self._complete():
            return False
        length = LENGTH.unpack_from(self._buffer)[0]
        if length > MAX_FRAME_BYTES:
            raise FramingError(f"the peer announced a message of {length} bytes; one frame holds {MAX_FRAME_BYTES}")
        return True
