"""The two clocks of a station: wall, and the station's own, which runs `speed` times as fast while it is idle.

While a robot is under control the station clock counts control periods: it runs on at `speed` until the end of the
present period and then waits for the action (a simulation stretches its own clock). So it is continuous and monotonic,
and `station seconds / wall seconds` over a control stream is the achieved speed. At speed 0 (max) idle time runs 1:1.
"""

from __future__ import annotations

import threading
import time
from typing import NamedTuple


class Stamp(NamedTuple):
    """Both clocks at one instant, s since the Unix epoch; `nightlab.records.Clock` once it has left the server."""

    wall_s: float
    station_s: float


class StationClock:
    """Thread-safe. Both clocks start at the Unix time of the construction; neither ever steps back."""

    def __init__(self, speed: float, period_s: float) -> None:
        self._speed = speed
        self._period_s = period_s
        self._lock = threading.Lock()
        self._wall_0 = time.time() - time.monotonic()
        self._mark = time.monotonic()
        self._station_s = self._wall_0 + self._mark
        self._counting = False

    def now(self) -> Stamp:
        """Both clocks now."""
        with self._lock:
            mono = time.monotonic()
            return Stamp(self._wall_0 + mono, self._station(mono))

    def wall(self, mono_s: float) -> float:
        """The wall clock at an instant of `time.monotonic()`; 0 stays 0."""
        return self._wall_0 + mono_s if mono_s else 0.0

    def begin_control(self) -> None:
        """From here on time is counted in control periods. Idempotent."""
        with self._lock:
            if not self._counting:
                mono = time.monotonic()
                self._station_s, self._mark = self._station(mono), mono
                self._counting = True

    def tick(self) -> Stamp:
        """A control period ended: both clocks at its end."""
        with self._lock:
            mono = time.monotonic()
            self._station_s += self._period_s
            self._mark = mono
            return Stamp(self._wall_0 + mono, self._station_s)

    def end_control(self) -> None:
        """Idle again. Idempotent."""
        with self._lock:
            if self._counting:
                mono = time.monotonic()
                self._station_s, self._mark = self._station(mono), mono
                self._counting = False

    def _station(self, mono: float) -> float:
        elapsed_s = mono - self._mark
        if self._counting:
            return self._station_s + min(elapsed_s * self._speed, self._period_s)
        return self._station_s + elapsed_s * (self._speed or 1.0)
