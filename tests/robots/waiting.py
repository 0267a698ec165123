"""Waiting for what another thread or process does soon."""

from __future__ import annotations

import time
from collections.abc import Callable


def until(true: Callable[[], object], within_s: float = 10.0) -> bool:
    give_up = time.monotonic() + within_s
    while not true() and time.monotonic() < give_up:
        time.sleep(0.01)
    return bool(true())
