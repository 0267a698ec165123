"""A place at the host's processors for what computes: so many trainings, and so many dry runs, at once over the whole lab.

More would only make each other slow, until trainings exceed their budget and dry runs look too slow for their robot. The
window does not count the wait as preparation, or it would begin ever more of them.
"""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from tasks.context import LabContext
from tasks.turns import turn

WAITED_S: Final = 0.2
"""Shorter waits are not written down."""


@asynccontextmanager
async def computing(
    lab: LabContext, what: str, *, campaign: str, iteration: str, station: str, places: int = 0
) -> AsyncIterator[None]:
    """Compute in the block once there is a place; a `note` in the ledger says how long that took.

    Args:
        lab: The lab.
        what: `train` or `deploy`: what takes turns with its like.
        campaign: The campaign.
        iteration: Who waits.
        station: Who waits.
        places: How many at once; 0 = as many as the host has processors.
    """
    async with turn(lab.lab.run_dir / what, places or len(os.sched_getaffinity(0))) as waited_s:
        if waited_s > WAITED_S:
            await lab.note(
                "note", f"{campaign}:{iteration}:{what}-waited:{time.time_ns()}", campaign=campaign,
                iteration=iteration, station=station, note=f"waited for a processor to {what}", waited_s=waited_s,
            )  # fmt: skip
        yield
