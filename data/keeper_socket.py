"""The keeper's socket: one client's calls after the other, each answered or refused in words.

`{"call", "with"}` → `{"result"}` or `{"error", "kind"}`. A call may be made again after a crash on either side.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Protocol

from pydantic import ValidationError

from data.disk import is_full, refusal
from data.dispatch import Dispatcher, Name
from data.lab import Lab
from nightlab.errors import LabError, NightlabError, UsageError
from nightlab.framing import FramingError, read_frame, write_frame

Answer = Any
Call = Callable[..., Awaitable[Answer]]


class Answering(Protocol):
    """What the socket needs of the keeper."""

    lab: Lab
    dispatcher: Dispatcher
    calls: dict[str, Call]


async def serve(
    keeper: Answering, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, clients: set[asyncio.StreamWriter]
) -> None:
    """Answer one client's calls, one after the other, until it leaves."""
    clients.add(writer)
    robots: set[Name] = set()
    """Trials that this client asked robots for: when it dies, they are free."""
    try:
        while True:
            request = await read_frame(reader)
            call = request.get("call") if isinstance(request, dict) else ""
            if call in ("await_station", "next_episode"):
                asked = request.get("with", {})
                robots.add((str(asked.get("campaign")), str(asked.get("iteration"))))
            work = answer(keeper, request)
            reply = await (_unless_gone(work, reader) if call == "await_station" else work)
            await write_frame(writer, reply)
    except (EOFError, FramingError, ConnectionError, asyncio.CancelledError):
        pass  # the client left, or the keeper is stopping: whatever was not answered will be asked again
    finally:
        for name in robots:
            keeper.dispatcher.leave(name)
        clients.discard(writer)
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def _unless_gone(call: Coroutine[Any, Any, Answer], reader: asyncio.StreamReader) -> Answer:
    """The answer of a long call; cancels it when the client hangs up meanwhile.

    Raises:
        EOFError: the client is gone.
    """
    task = asyncio.ensure_future(call)
    while not task.done():
        await asyncio.wait({task}, timeout=0.5)
        if reader.at_eof():
            task.cancel()
            raise EOFError
    return task.result()


async def answer(keeper: Answering, request: Any) -> dict[str, Any]:
    """One call: `{"call", "with"}` → `{"result"}` or `{"error", "kind"}`."""
    try:
        call = keeper.calls.get(str(request["call"]))
        if call is None:
            raise UsageError.unknown(
                "call", str(request["call"]), keeper.calls, "the same version of nightlab on both sides"
            )
        return {"result": await call(**request.get("with", {}))}
    except (NightlabError, OSError, sqlite3.Error) as error:
        if is_full(error):
            error = refusal(keeper.lab)
        elif not isinstance(error, NightlabError):
            error = LabError(f"the keeper cannot write: {error}. Check the disk: nightlab doctor")
        return {"error": str(error), "kind": type(error).__name__}
    except (ValidationError, KeyError, TypeError, ValueError) as error:
        return {"error": f"the keeper cannot read this call: {error}", "kind": "UsageError"}
