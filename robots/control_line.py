"""What carries a control stream from its client: gRPC, or the Unix socket of a station on this host."""

from __future__ import annotations

import asyncio
import math
from typing import Any, Protocol

import grpc
from google.protobuf.message import DecodeError

from nightlab.errors import NightlabError
from nightlab.framing import FramingError
from nightlab.link import Link
from robots import station_pb2 as pb
from robots import wire
from robots.calls import Channel

WATCH_S = 0.5
CLOSE_S = 2.0
CONNECT_S = 1.0
_NEVER, _TIMED_OUT = math.inf, -math.inf


class ControlLine(Protocol):
    """One stream, in lockstep."""

    async def ask(self, request: pb.ControlRequest, timeout_s: float, what: str) -> pb.ControlReply:
        """The reply to a request.

        Raises:
            NightlabError: the line is dead then, as after a cancellation.
        """
        ...

    async def close(self) -> None:
        """End the stream and wait until the station knows."""
        ...


async def open_line(channel: Channel, stub: Any, control_socket: str) -> ControlLine:
    """The station's control socket if it is on this host, else gRPC."""
    if control_socket.startswith(wire.CONTROL_SOCKET):
        try:
            async with asyncio.timeout(CONNECT_S):
                _, link = await asyncio.get_running_loop().create_unix_connection(
                    lambda: Link(wire.MAX_MESSAGE_BYTES), f"\0{control_socket}"
                )
        except OSError:  # another host, or another network namespace
            pass
        else:
            return SocketLine(link, channel.address)
    return GrpcLine(channel, stub)


class SocketLine:
    """Over robots/control_socket.py."""

    def __init__(self, link: Link, address: str) -> None:
        self._link = link
        self._address = address

    async def ask(self, request: pb.ControlRequest, timeout_s: float, what: str) -> pb.ControlReply:
        """One request and its reply."""
        try:
            self._link.send(request.SerializeToString())
            return pb.ControlReply.FromString(await self._link.receive(timeout_s))
        except TimeoutError:
            self._link.close()
            raise wire.silent(what, self._address, timeout_s) from None
        except asyncio.CancelledError:
            self._link.close()
            raise
        except (EOFError, FramingError, DecodeError):
            self._link.close()
            raise wire.gone(what, self._address) from None

    async def close(self) -> None:
        """The station hangs up when its robot holds."""
        self._link.end()
        try:
            async with asyncio.timeout(CLOSE_S):
                await self._link.closed()
        except TimeoutError:
            pass
        finally:
            self._link.close()


class GrpcLine:
    """Over `Control` of the gRPC service."""

    def __init__(self, channel: Channel, stub: Any) -> None:
        self._address = channel.address
        self._call: Any = stub.Control(metadata=channel.metadata)
        self._loop = asyncio.get_running_loop()
        self._give_up = _NEVER
        self._watcher = self._loop.call_later(WATCH_S, self._watch)

    async def ask(self, request: pb.ControlRequest, timeout_s: float, what: str) -> pb.ControlReply:
        """One request and its reply."""
        self._give_up = self._loop.time() + timeout_s
        try:
            await self._call.write(request)
            reply: pb.ControlReply = await self._call.read()
        except asyncio.CancelledError:
            self._call.cancel()
            if self._give_up == _TIMED_OUT:
                raise wire.silent(what, self._address, timeout_s) from None
            raise
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError) as error:
            raise await self._broken(what, error) from None
        self._give_up = _NEVER
        if reply is grpc.aio.EOF:
            raise await self._broken(what, None)
        return reply

    async def close(self) -> None:
        """Half-close, then wait for the station's end."""
        self._watcher.cancel()
        if self._call.done():
            self._call.cancel()
            return
        try:
            async with asyncio.timeout(CLOSE_S):
                await self._call.done_writing()
                await self._call.read()
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError, TimeoutError):
            self._call.cancel()

    def _watch(self) -> None:
        """Cancel the call when an answer is overdue; one timer for the stream costs less than a timeout per step."""
        if self._give_up <= self._loop.time():
            self._give_up = _TIMED_OUT
            self._call.cancel()
        else:
            self._watcher = self._loop.call_later(WATCH_S, self._watch)

    async def _broken(self, what: str, error: BaseException | None) -> NightlabError:
        """The error for a stream that the server ended."""
        if not isinstance(error, grpc.aio.AioRpcError):
            try:
                async with asyncio.timeout(1.0):
                    code, details = await self._call.code(), await self._call.details()
            except TimeoutError:
                code, details = grpc.StatusCode.UNAVAILABLE, ""
            error = grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata(), details=details)
        return wire.error_of(error, what, self._address)
