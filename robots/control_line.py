"""What carries a control stream from its client.

gRPC (robots/grpc_line.py), or the control socket of a station on this host (robots/socket_line.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from nightlab.contracts import Observation, Values

CLOSE_S = 2.0
"""How long the station may take to see the end of a stream."""


@dataclass(slots=True)
class Answer:
    """What a request came to, as it arrived."""

    observations: list[Observation]
    periods: int
    late: int
    clamped: int
    waited_s: float
    error_kind: str
    """As in `robots.wire.KINDS`; empty: no error."""
    error: str


class ControlLine(Protocol):
    """One stream, in lockstep. After an exception, a cancellation too, the line is dead.

    Both requests raise NightlabError: nobody answers, or not within `timeout_s`.
    """

    async def open(self, token: str, label: str, timeout_s: float) -> Answer:
        """The first request."""
        ...

    async def ask(self, chunk: Sequence[Values] | None, film: bool, timeout_s: float) -> Answer:
        """Step, or hold (None)."""
        ...

    async def close(self) -> None:
        """End the stream and wait until the station knows."""
        ...
