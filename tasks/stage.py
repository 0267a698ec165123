"""A stage: a Prefect task whose result is kept under its iteration's key and whose begin and end are in the ledger.

The result of `train` of iteration I17 in campaign C1 is stored as `C1-I17/train`; running the iteration again, or a replay
that refers to it, finds it and does not execute the stage. Only executions write `stage_started` to the ledger.
"""

from __future__ import annotations

import inspect
import time
import traceback
from collections.abc import Awaitable, Callable
from datetime import timedelta
from functools import update_wrapper
from typing import Any

from prefect import task
from prefect.tasks import Task

from nightlab.errors import NightlabError
from tasks.context import LabContext
from tasks.room import room, waited

FULL_TRIES = 10
"""How often a stage is done anew because the disk was full."""
Body = Callable[..., Awaitable[dict[str, Any]]]


def result_key(campaign: str, iteration: str, stage: str) -> str:
    """The storage key of a stage's result."""
    return f"{campaign}-{iteration}/{stage}"


def stage(
    name: str, *, retry_delays_s: tuple[float, ...] = (), timeout_s: float | None = None
) -> Callable[[Body], Task[..., Any]]:
    """Decorate `async def body(lab, campaign, iteration, **inputs) -> dict` as the stage `name`.

    The task that comes out takes the same arguments without `lab`. Inputs and result are JSON.
    """

    def decorate(body: Body) -> Task[..., Any]:
        async def run(campaign: str, iteration: str, **inputs: Any) -> dict[str, Any]:
            lab = LabContext.here()
            begin_s = time.time()
            mark = f"{campaign}:{iteration}:{name}:{time.time_ns()}"
            where: dict[str, Any] = {
                "campaign": campaign,
                "iteration": iteration,
                "station": str(inputs.get("station", "")),
            }
            await lab.note("stage_started", f"{mark}:started", **where, stage=name)
            try:
                result = await _with_room(lab, lambda: body(lab, campaign, iteration, **inputs))
            except BaseException as error:
                reason = str(error) if isinstance(error, NightlabError) else traceback.format_exc(limit=4)
                await lab.note(
                    "stage_failed", f"{mark}:failed", **where, stage=name, reason=reason[-2000:],
                    wall_s=time.time() - begin_s,
                )  # fmt: skip
                raise
            await lab.note("stage_finished", f"{mark}:finished", **where, stage=name, wall_s=time.time() - begin_s)
            return result

        update_wrapper(run, body)
        del run.__wrapped__  # type: ignore[attr-defined]
        inputs = [parameter for name_, parameter in inspect.signature(body).parameters.items() if name_ != "lab"]
        run.__signature__ = inspect.Signature(inputs)  # type: ignore[attr-defined]
        decorated: Task[..., Any] = task(
            name=name,
            task_run_name=name + " {iteration}",
            retries=len(retry_delays_s),
            retry_delay_seconds=list(retry_delays_s) or None,
            timeout_seconds=timeout_s,
            persist_result=True,
            result_serializer="json",
            cache_key_fn=lambda _, inputs: _cache_key(name, inputs),
            cache_expiration=timedelta(days=3650),
        )(run)
        return decorated

    return decorate


async def _with_room(lab: LabContext, body: Callable[[], Awaitable[dict[str, Any]]]) -> dict[str, Any]:
    """Run the stage's body once there is room on disk, and again if the disk was full: bodies can be done anew."""
    for again in range(FULL_TRIES + 1):
        await room(lab)
        try:
            return await body()
        except Exception as error:
            if again == FULL_TRIES or not await waited(lab, error):
                raise
    raise AssertionError("unreachable")


def _cache_key(name: str, inputs: dict[str, Any]) -> str:
    return result_key(inputs["campaign"], inputs["iteration"], name)
