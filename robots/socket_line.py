"""A control stream over the control socket of a station on this host. Implements `robots.control_line.ControlLine`."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from nightlab.contracts import Values
from nightlab.framing import FramingError
from nightlab.link import Link
from robots import control_wire, wire
from robots.control_line import CLOSE_S, Answer

CONNECT_S = 1.0


class SocketLine:
    """Made by `connect`."""

    def __init__(self, link: Link, address: str) -> None:
        self._link = link
        self._address = address

    @classmethod
    async def connect(cls, control_socket: str, address: str) -> SocketLine | None:
        """To a socket by its name; None: there is none, as on another host or in another network namespace.

        Args:
            control_socket: abstract, without its leading zero byte.
            address: of the station, for messages.
        """
        if not control_socket.startswith(wire.CONTROL_SOCKET):
            return None
        try:
            async with asyncio.timeout(CONNECT_S):
                _, link = await asyncio.get_running_loop().create_unix_connection(Link, f"\0{control_socket}")
        except OSError:
            return None
        return cls(link, address)

    async def open(self, token: str, label: str, timeout_s: float) -> Answer:
        """The first request."""
        return await self._ask(control_wire.pack_open(token, label), "control", timeout_s)

    async def ask(self, chunk: Sequence[Values] | None, film: bool, timeout_s: float) -> Answer:
        """Step, or hold (None)."""
        return await self._ask(control_wire.pack_request(chunk, film), "hold" if chunk is None else "step", timeout_s)

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

    async def _ask(self, request: bytes, what: str, timeout_s: float) -> Answer:
        try:
            self._link.send(request)
            return control_wire.unpack_reply(await self._link.receive(timeout_s))
        except TimeoutError:
            self._link.close()
            raise wire.silent(what, self._address, timeout_s) from None
        except asyncio.CancelledError:
            self._link.close()
            raise
        except (EOFError, FramingError, ValueError, TypeError):
            self._link.close()
            raise wire.gone(what, self._address) from None
