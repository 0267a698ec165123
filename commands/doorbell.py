"""What is scheduled starts within a second: one look for all work pools, where Prefect's workers would each poll their own.

A poll of a pool makes the server write three times, and with 33 pools polls were most of what it did. One look at the flow
runs that are due only reads; a worker is asked to fetch its runs when it has some. Workers poll by themselves too, rarely.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

LOOK_S = 1.0
"""Between two looks, wall seconds."""
MOST = 200
"""Flow runs of one look."""

log = logging.getLogger("nightlab.fleet")


async def ring(fetch: Mapping[str, Callable[[], Awaitable[Any]]], *, prefetch_s: float, look_s: float = LOOK_S) -> None:
    """Let workers fetch flow runs as soon as some are due; runs as long as the fleet.

    Args:
        fetch: By work pool: what lets its worker fetch and start what is due.
        prefetch_s: Flow runs are fetched so long before their time, wall seconds.
        look_s: Time between two looks, wall seconds.
    """
    from prefect.client.orchestration import get_client

    async with get_client() as client:
        while True:
            await asyncio.sleep(look_s)
            try:
                due = await pools_with_work(client, prefetch_s)
                await asyncio.gather(*(fetch[pool]() for pool in sorted(due) if pool in fetch))
            except Exception as error:  # whatever it is: the workers' own polls find what is due later
                log.warning("cannot look for flow runs that are due: %s: %s", type(error).__name__, error)


async def pools_with_work(client: Any, prefetch_s: float) -> set[str]:
    """Work pools with flow runs that are due within `prefetch_s`, wall seconds."""
    from prefect.client.schemas.filters import (
        FlowRunFilter,
        FlowRunFilterNextScheduledStartTime,
        FlowRunFilterState,
        FlowRunFilterStateType,
    )
    from prefect.client.schemas.objects import StateType
    from prefect.types import DateTime

    by = datetime.now(UTC) + timedelta(seconds=prefetch_s)
    due = FlowRunFilter(
        state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.SCHEDULED])),
        next_scheduled_start_time=FlowRunFilterNextScheduledStartTime(before_=DateTime.instance(by)),
    )
    found = await client.read_flow_runs(flow_run_filter=due, limit=MOST)
    return {run.work_pool_name for run in found if run.work_pool_name}
