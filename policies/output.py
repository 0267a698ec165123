"""What untrusted code prints: read all the time, kept up to a bound, counted."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

KEPT_BYTES: Final = 64 * 1024


def printable(text: str, limit: int = 2000) -> str:
    """Foreign text made safe for a terminal and a record: no control characters, at most `limit` characters."""
    clean = "".join(char if char.isprintable() or char in "\n\t" else "?" for char in text)
    return clean if len(clean) <= limit else clean[:limit] + "…"


class Output:
    """The last `KEPT_BYTES` of a stream, and a call when more than `allowance` bytes came since `renew`."""

    def __init__(self, stream: asyncio.StreamReader, allowance: int, on_flood: Callable[[], None]) -> None:
        self._stream, self._allowance, self._on_flood = stream, allowance, on_flood
        self._kept = bytearray()
        self._since = 0
        self._task = asyncio.create_task(self._pump())

    @property
    def text(self) -> str:
        """What is kept, printable."""
        return printable(self._kept.decode(errors="replace"), KEPT_BYTES)

    @property
    def last_line(self) -> str:
        """The last line that is not empty."""
        lines = [line for line in self.text.splitlines() if line.strip()]
        return lines[-1][:500] if lines else ""

    def renew(self) -> None:
        """Begin a new allowance."""
        self._since = 0

    async def finish(self, timeout_s: float = 1.0) -> None:
        """Read what is left after the process ended."""
        await asyncio.wait([self._task], timeout=timeout_s)
        self._task.cancel()

    async def _pump(self) -> None:
        flooded = False
        while data := await self._stream.read(16 * 1024):  # after a flood too, so that the pipe comes to its end
            self._kept += data
            del self._kept[:-KEPT_BYTES]
            self._since += len(data)
            if self._since > self._allowance and not flooded:
                flooded = True
                self._on_flood()
