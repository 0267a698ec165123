"""What a station saw at the end of a control period, on its way to the wire; plain, because every tick makes one."""

from __future__ import annotations

from dataclasses import dataclass

from nightlab.contracts import Values
from nightlab.records import StepFlags
from robots.clock import Stamp


@dataclass(slots=True)
class Tick:
    """The server's side of `nightlab.contracts.Observation`."""

    seq: int
    stamp: Stamp
    values: Values
    executed: Values
    flags: StepFlags | None = None
    """None: nothing to say about this period."""
