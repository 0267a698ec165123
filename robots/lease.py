"""The station's own lease: sole control, first come first served, for as long as its holder is heard.

A ticket (chosen by the waiter) keeps a place in the queue while its waiter keeps asking; a token proves the lease.
Every renewal and every control message extends it by its TTL on the wall clock. A holder that falls silent loses it.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from nightlab.errors import LeaseError
from nightlab.records import LimitsSpec

TICKET_S = 3.0
"""A waiter that has not asked for so long loses its place."""
MIN_TTL_S, MAX_TTL_S = 0.2, 60.0


@dataclass(slots=True)
class Grant:
    """A lease that was given."""

    token: str
    holder: str
    ticket: str
    ttl_s: float
    limits: LimitsSpec
    expires_s: float


@dataclass(slots=True)
class _Waiter:
    ticket: str
    seen_s: float
    present: int = 0
    """Calls that are waiting in `acquire` right now."""


@dataclass(slots=True)
class LeaseTable:
    """At most one grant at a time. Thread-safe.

    Args:
        clock: seconds, monotonic.
        on_lapse: called, outside the lock, with a grant whose holder fell silent.
    """

    clock: Callable[[], float] = time.monotonic
    on_lapse: Callable[[Grant], None] = lambda grant: None
    lapsed: int = 0
    _grant: Grant | None = None
    _queue: list[_Waiter] = field(default_factory=list)
    _changed: threading.Condition = field(default_factory=threading.Condition)

    def acquire(
        self,
        ticket: str,
        holder: str,
        limits: LimitsSpec,
        ttl_s: float,
        wait_s: float = 0.0,
        alive: Callable[[], bool] = lambda: True,
    ) -> Grant | None:
        """Wait up to `wait_s` for the lease; None: not yet, the ticket keeps its place for TICKET_S.

        Raises:
            LeaseError: a TTL outside 0.2 to 60 s.
        """
        if not MIN_TTL_S <= ttl_s <= MAX_TTL_S:
            raise LeaseError(f"lease with ttl_s = {ttl_s:g}; allowed: {MIN_TTL_S:g} to {MAX_TTL_S:g} s")
        deadline_s = self.clock() + wait_s
        with self._changed:
            if self._grant is not None and self._grant.ticket == ticket and self.clock() < self._grant.expires_s:
                return self._grant  # the reply that granted it was lost; the waiter asks again
            waiter = next((w for w in self._queue if w.ticket == ticket), None)
            if waiter is None:
                waiter = _Waiter(ticket, self.clock())
                self._queue.append(waiter)
            waiter.present += 1
            try:
                while alive():
                    self._drop_silent()
                    if self._grant is None and self._queue[0] is waiter:
                        self._queue.remove(waiter)
                        self._grant = Grant(secrets.token_hex(16), holder, ticket, ttl_s, limits, self.clock() + ttl_s)
                        return self._grant
                    left_s = deadline_s - self.clock()
                    if left_s <= 0:
                        return None
                    self._changed.wait(min(left_s, 0.25))
                waiter.seen_s = -TICKET_S  # the waiter is gone: so is its place
                return None
            finally:
                waiter.present -= 1
                if waiter.seen_s >= 0:
                    waiter.seen_s = self.clock()

    def check(self, token: str) -> Grant:
        """The grant of this token, extended by its TTL.

        Raises:
            LeaseError: no such lease, or it lapsed; says who holds the station.
        """
        with self._changed:
            grant = self._grant
            if grant is None or grant.token != token or self.clock() >= grant.expires_s:
                raise LeaseError(self._explain())
            grant.expires_s = self.clock() + grant.ttl_s
            return grant

    def held(self, token: str) -> bool:
        """Whether this token holds the lease now; does not extend it."""
        grant = self._grant
        return grant is not None and grant.token == token and self.clock() < grant.expires_s

    def release(self, token: str) -> None:
        """Give the lease back. A token that lapsed already is no error."""
        with self._changed:
            if self._grant is not None and self._grant.token == token:
                self._grant = None
                self._changed.notify_all()

    def expire(self) -> Grant | None:
        """Take the lease from a holder that fell silent; call it often."""
        with self._changed:
            grant = self._grant
            if grant is None or self.clock() < grant.expires_s:
                return None
            self._grant = None
            self.lapsed += 1
        self.on_lapse(grant)  # the robot holds before anybody else may have it
        with self._changed:
            self._changed.notify_all()
        return grant

    @property
    def holder(self) -> str:
        """Who holds the lease; empty: nobody."""
        grant = self._grant
        return grant.holder if grant is not None else ""

    @property
    def waiting(self) -> int:
        """Waiters in the queue."""
        with self._changed:
            self._drop_silent()
            return len(self._queue)

    def ahead(self, ticket: str) -> int:
        """How many wait before this ticket."""
        with self._changed:
            return next((index for index, w in enumerate(self._queue) if w.ticket == ticket), len(self._queue))

    def _drop_silent(self) -> None:
        now_s = self.clock()
        self._queue[:] = [w for w in self._queue if w.present or now_s - w.seen_s < TICKET_S]

    def _explain(self) -> str:
        held = f"held by {self._grant.holder!r}" if self._grant is not None else "free"
        return (
            f"this token holds no lease: it lapsed, was released, or the station was restarted; the station is {held}. "
            "Take a new lease with StationClient.lease"
        )
