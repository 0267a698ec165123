"""The client's half of a lease: a token and the task that renews it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from types import TracebackType
from typing import Any

from nightlab.errors import LeaseError, StationError
from nightlab.records import LimitsSpec
from robots import station_pb2 as pb
from robots.calls import Channel


class ClientLease:
    """Sole control of a station until `release`, or until this process falls silent for `ttl_s`.

    Implements `nightlab.contracts.Lease`; also an async context manager that releases.
    """

    def __init__(self, channel: Channel, stub: Any, token: str, limits: LimitsSpec, ttl_s: float) -> None:
        self.token = token
        self.limits = limits
        """The intersection of the station's limits and the asked ones: what the safety filter enforces."""
        self.ttl_s = ttl_s
        self.lost = ""
        """Why the lease is gone; empty while it is held or was released."""
        self.on_release: Callable[[], None] = lambda: None
        self._channel = channel
        self._stub = stub
        self._released = False
        self._heart = asyncio.create_task(self._beat(), name=f"lease-{token[:6]}")

    async def release(self) -> None:
        """Give the lease back. Idempotent; a lease that lapsed already is no error."""
        if self._released:
            return
        self._released = True
        self._heart.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._heart
        self.on_release()
        if not self.lost:
            await self._channel.call(self._stub.ReleaseLease, pb.LeaseRequest(token=self.token), "release the lease")

    async def __aenter__(self) -> ClientLease:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(StationError):
            await self.release()

    async def _beat(self) -> None:
        """Renew at a third of the TTL until the station says that the lease is gone."""
        while True:
            await asyncio.sleep(self.ttl_s / 3)
            try:
                ask = pb.LeaseRequest(token=self.token)
                await self._channel.call(self._stub.RenewLease, ask, "renew the lease", timeout_s=max(1.0, self.ttl_s))
            except LeaseError as error:
                self.lost = str(error)
                return
            except StationError:
                continue  # it may come back within the TTL; control calls say so themselves
