"""A client's channel to a station: unary calls with a deadline, and errors as ours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import grpc

from nightlab.errors import StationError
from robots import wire
from robots.credentials import Credentials

CALL_S = 5.0
"""Deadline of an ordinary call."""


class Channel:
    """An asyncio gRPC channel to one address; `keys`: a folder of robots/credentials.py."""

    def __init__(self, address: str, keys: Path | str = "") -> None:
        self.address = address
        credentials = Credentials.read(keys)
        self.metadata = credentials.metadata
        self.grpc: Any = credentials.channel(address, wire.CHANNEL_OPTIONS)
        self.closed = False

    async def call(
        self, method: Any, request: Any, what: str, *, timeout_s: float = CALL_S, metadata: Any = None
    ) -> Any:
        """One unary call.

        Raises:
            NightlabError: what the station raised; StationError if nobody answers within `timeout_s`.
        """
        if self.closed:
            raise StationError(f"{what}: this client was closed; connect again")
        try:
            return await method(request, timeout=timeout_s, metadata=(*self.metadata, *(metadata or ())))
        except grpc.aio.AioRpcError as error:
            raise wire.error_of(error, what, self.address, timeout_s) from None
        except grpc.aio.UsageError as error:
            raise StationError(f"{what}: {error}; connect again") from None

    async def close(self) -> None:
        """Close the channel."""
        self.closed = True
        await self.grpc.close()
