"""A control stream over `Control` of the gRPC service. Implements `robots.control_line.ControlLine`."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from typing import Any

import grpc

from nightlab.contracts import Values
from nightlab.errors import NightlabError
from robots import station_pb2 as pb
from robots import wire
from robots.calls import Channel
from robots.control_line import CLOSE_S, Answer

WATCH_S = 0.5
_NEVER, _TIMED_OUT = math.inf, -math.inf


class GrpcLine:
    """Opens its call when it is made."""

    def __init__(self, channel: Channel, stub: Any) -> None:
        self._address = channel.address
        self._call: Any = stub.Control(metadata=channel.metadata)
        self._loop = asyncio.get_running_loop()
        self._give_up = _NEVER
        self._watcher = self._loop.call_later(WATCH_S, self._watch)

    async def open(self, token: str, label: str, timeout_s: float) -> Answer:
        """The first request."""
        request = pb.ControlRequest(open=pb.ControlRequest.Open(token=token, label=label))
        return await self._ask(request, "control", timeout_s)

    async def ask(self, chunk: Sequence[Values] | None, film: bool, timeout_s: float) -> Answer:
        """Step, or hold (None)."""
        request = pb.ControlRequest(film=film)
        if chunk is None:
            request.hold.SetInParent()
            return await self._ask(request, "hold", timeout_s)
        request.step.SetInParent()
        for action in chunk:
            wire.pack_values(action, request.step.actions.add())
        return await self._ask(request, "step", timeout_s)

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

    async def _ask(self, request: pb.ControlRequest, what: str, timeout_s: float) -> Answer:
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
        observations = [wire.unpack_observation(message) for message in reply.observations]
        return Answer(
            observations, reply.periods, reply.late, reply.clamped, reply.waited_s, reply.error_kind, reply.error
        )

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
