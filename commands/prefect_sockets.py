"""Open websockets do not count among the requests that the Prefect server serves at once.

On SQLite Prefect 3.8.8 serves 100 requests at a time and counts an open websocket as one. A station of a running campaign
holds six websockets, so with 16 stations all 100 are taken for good, and the server never answers a request again.
Websockets write nothing to the database themselves: only HTTP requests are limited here.
"""

from __future__ import annotations

from typing import Any


def limit_requests_only() -> None:
    """Let websockets pass Prefect's request limit. To be called before `create_app`; calling it again changes nothing."""
    from prefect.server.api.server import RequestLimitMiddleware

    original: Any = RequestLimitMiddleware.__call__
    if getattr(original, "requests_only", False):
        return

    async def call(self: Any, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "websocket":
            await self.app(scope, receive, send)
        else:
            await original(self, scope, receive, send)

    call.requests_only = True  # type: ignore[attr-defined]
    RequestLimitMiddleware.__call__ = call  # type: ignore[method-assign]
