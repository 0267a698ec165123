"""Which waiting trial gets which free robot next. Lives in the keeper's memory; the station's lease stays the truth.

A trial process is ready to move (policy loaded) before it asks. Work that belongs to a station goes first, then ideas,
the oldest first, to whichever robot has been free longest; filler work takes what nobody else wants and gives way
between two episodes. A keeper that restarts has forgotten who has what: for a while a trial may then wait for a lease.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from itertools import count

BOUND, IDEA, FILLER = 0, 1, 2
"""Ranks of requests, the most urgent first."""
Name = tuple[str, str]
"""(campaign, iteration)."""


@dataclass(slots=True)
class Request:
    """A trial that waits for a robot."""

    name: Name
    rank: int
    stations: Collection[str]
    """Where it may run."""
    order: int = 0
    granted: asyncio.Future[str] | None = None


@dataclass(slots=True)
class Dispatcher:
    """Call from one event loop only.

    Args:
        closed: stations that get no work now (parked).
    """

    closed: Callable[[str], Collection[str]] = lambda campaign: ()
    holders: dict[str, Name] = field(default_factory=dict)
    """Station → who was given its robot."""
    _waiting: dict[Name, Request] = field(default_factory=dict)
    _free_since: dict[str, int] = field(default_factory=dict)
    _count: count[int] = field(default_factory=count)

    async def wait(self, request: Request, wait_s: float) -> str:
        """Wait up to `wait_s` for a robot; empty: none yet. Whoever asks again keeps its place in the queue."""
        held = next((station for station, name in self.holders.items() if name == request.name), "")
        if held:
            return held
        before = self._waiting.get(request.name)
        request.order = before.order if before is not None else next(self._count)
        request.granted = asyncio.get_running_loop().create_future()
        self._waiting[request.name] = request
        self._grant()
        try:
            return await asyncio.wait_for(request.granted, wait_s)
        except TimeoutError:
            request.granted = None
            return ""
        except asyncio.CancelledError:
            self.leave(request.name)
            raise

    def leave(self, name: Name) -> None:
        """Give the robot back, or the place in the queue. Idempotent."""
        self._waiting.pop(name, None)
        for station in [station for station, holder in self.holders.items() if holder == name]:
            del self.holders[station]
            self._free_since[station] = next(self._count)
        self._grant()

    def wanted(self, name: Name) -> bool:
        """Whether somebody more important waits for the robot that this filler work has."""
        station = next((station for station, holder in self.holders.items() if holder == name), "")
        return any(r.rank < FILLER and station in r.stations for r in self._waiting.values())

    def _grant(self) -> None:
        """Give free robots to those who wait and listen."""
        for request in sorted(self._waiting.values(), key=lambda r: (r.rank, r.order)):
            if request.granted is None or request.granted.done():
                continue
            closed = self.closed(request.name[0])
            free = [s for s in request.stations if s not in self.holders and s not in closed]
            if free:
                station = min(free, key=lambda s: self._free_since.get(s, -1))
                self.holders[station] = request.name
                del self._waiting[request.name]
                request.granted.set_result(station)
