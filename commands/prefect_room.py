"""When the disk is full, the Prefect server asks its clients to come again later instead of failing their runs.

A write that SQLite cannot make would be an error 500, and that ends flow runs. 503 with Retry-After makes Prefect's own
client wait and repeat the request, however long it takes (`PREFECT_CLIENT_MAX_RETRIES` in commands/environment.py).
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any

from data.disk import short_at

RETRY_AFTER_S = 2
LOOK_S = 0.5
"""How long one look at the disk is believed."""
PART = 0.25
"""Of the space that campaigns ask for: they pause first, and can still say so."""

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Scope]]
Send = Callable[[Scope], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]


class RoomFirst:
    """ASGI middleware: answers requests that may write with 503 while there is no room at `home`.

    Args:
        application: the Prefect server.
        home: where its database lies.
    """

    def __init__(self, application: Application, home: Path) -> None:
        self._application, self._home = application, home
        self._looked_s, self._lack = 0.0, ""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] not in ("GET", "HEAD", "OPTIONS") and self._short():
            headers = [(b"retry-after", str(RETRY_AFTER_S).encode()), (b"content-type", b"text/plain")]
            await send({"type": "http.response.start", "status": 503, "headers": headers})
            await send({"type": "http.response.body", "body": f"the disk is full: {self._lack}".encode()})
            return
        await self._application(scope, receive, send)

    def _short(self) -> bool:
        now_s = time.monotonic()
        if now_s - self._looked_s > LOOK_S:
            self._looked_s, self._lack = now_s, short_at(self._home, part=PART)
        return bool(self._lack)
