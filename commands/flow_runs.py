"""Flow runs as a group: cancel all and wait (`drain`), see that cancelled ones and orphans end, settle those left over."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import httpx
from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterDeploymentId,
    FlowRunFilterEndTime,
    FlowRunFilterId,
    FlowRunFilterParentFlowRunId,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.exceptions import ObjectNotFound, PrefectException
from prefect.states import AwaitingRetry, Cancelled, Cancelling, Crashed

STARTED = (StateType.RUNNING, StateType.PENDING, StateType.CANCELLING)
"""States of flow runs that have, or are about to have, a process."""

PAGE = 200
"""Flow runs that Prefect's server gives in one answer at most."""

LATELY = timedelta(minutes=1)
"""A flow run that ended so long before the last look may have been missed by it: who ends it stamps it, and tells later."""

SIGNALS = {2: signal.SIGTERM, 4: signal.SIGTERM, 6: signal.SIGKILL}
"""What a run gets that is still being cancelled at the n-th look of `see_cancelled`."""

log = logging.getLogger("nightlab.fleet")


async def drain(*, grace_s: float = 20.0) -> int:
    """Cancel every flow run that has been started and wait until all have ended.

    Runs that wait for a worker are cancelled as well, those that a schedule made are left. Children and parents get the
    signal together, so that no parent has time to start a cancelled child again.

    Args:
        grace_s: Longest wait, wall seconds.

    Returns:
        The number of flow runs that had not ended by then.
    """
    loop = asyncio.get_running_loop()
    deadline_s = loop.time() + grace_s
    cancelled: set[UUID] = set()
    begun = datetime.now(UTC)
    async with get_client() as client:
        while True:
            runs = await runs_in(client, (*STARTED, StateType.SCHEDULED))
            live = [run for run in runs if run.state_type in STARTED]
            waiting = [run for run in runs if run.state_type == StateType.SCHEDULED and not run.auto_scheduled]
            cancelled |= {run.id for run in live}
            if not live and not waiting:
                await _not_crashed(client, cancelled)
                return 0
            if loop.time() > deadline_s:
                return len(live)
            await end_orphans(client, begun)
            asked = [run for run in live if run.state_type != StateType.CANCELLING and run.deployment_id is not None]
            await asyncio.gather(
                *(_set(client, run, Cancelling(message="the lab shuts down")) for run in asked),
                *(_set(client, run, Cancelled(message="the lab shuts down")) for run in waiting),
            )
            await asyncio.sleep(0.3)


async def settle(*, resume: bool) -> tuple[int, int]:
    """Give flow runs without a process their end, or schedule them again. For a fleet that starts.

    Args:
        resume: Schedule roots (runs that no other run started) that were running again; they continue from the ledger.

    Returns:
        How many were resumed and how many were set to Crashed (Cancelled, if they were being cancelled).
    """
    resumed = ended = 0
    async with get_client() as client:
        runs = await runs_in(client, STARTED)
        changes = []
        for run in runs:
            if _alive(run):
                continue
            if run.state_type == StateType.CANCELLING:
                state: State = Cancelled(message="its process ended while the lab was down")
            elif resume and run.parent_task_run_id is None and run.deployment_id is not None:
                state = AwaitingRetry(message="its fleet died; scheduled again")
            else:
                state = Crashed(message="its process died with its fleet")
            resumed += state.type == StateType.SCHEDULED
            ended += state.type != StateType.SCHEDULED
            changes.append(_set(client, run, state))
        await asyncio.gather(*changes)
    return resumed, ended


async def see_cancelled(*, every_s: float = 5.0) -> None:
    """Make sure that what is being cancelled ends; runs as long as the fleet.

    A worker hears of a cancellation through one event on a websocket. If that event is lost, the run would stay
    Cancelling for ever. So a run that is still Cancelling at a second look gets SIGTERM from here, at the fourth again,
    at the sixth SIGKILL (its lease lapses and the station homes by itself); without a process it is Cancelled.

    Args:
        every_s: Time between two looks, wall seconds.
    """
    looks: dict[UUID, int] = {}
    signalled: set[UUID] = set()
    looked = datetime.now(UTC)
    async with get_client() as client:
        while True:
            await asyncio.sleep(every_s)
            try:
                now = datetime.now(UTC)
                runs = await runs_in(client, [StateType.CANCELLING])
                await end_orphans(client, looked)
                looked = now
                signalled -= await _not_crashed(client, signalled)
                looks = {run.id: looks.get(run.id, 0) + 1 for run in runs}
                for run in runs:
                    look = looks[run.id]
                    if look > 1 and not _alive(run):
                        await _set(client, run, Cancelled(message="cancelled; its process has ended"))
                    elif number := SIGNALS.get(look):
                        log.warning("flow run %s is still being cancelled: %s", run.name, number.name)
                        signalled.add(run.id)
                        with contextlib.suppress(ProcessLookupError):
                            os.kill(int(run.infrastructure_pid or ""), number)
            except (httpx.HTTPError, PrefectException) as error:
                log.warning("cannot look after cancelled flow runs: %s", error)


async def end_orphans(client: PrefectClient, since: datetime) -> None:
    """Set subflow runs to Crashed whose parent has ended without them: it was killed, and they ran in its process.

    One that had not begun (`flows/next_run.py` makes them beforehand) is Cancelled.

    Asks for parents that ended lately, never for all that runs: a campaign has hundreds of subflows under way.

    Args:
        client: Of the lab's server.
        since: The last look.
    """
    ended = await _runs(
        client,
        FlowRunFilter(
            deployment_id=FlowRunFilterDeploymentId(is_null_=False),
            end_time=FlowRunFilterEndTime.model_validate({"after_": since - LATELY}),
        ),
    )
    if not ended:
        return
    orphans = await _runs(
        client,
        FlowRunFilter(
            state=_in(STARTED),
            deployment_id=FlowRunFilterDeploymentId(is_null_=True),  # the others have a process of their own
            parent_flow_run_id=FlowRunFilterParentFlowRunId(any_=[run.id for run in ended]),
        ),
    )
    await asyncio.gather(*(_set(client, run, _end_of(run)) for run in orphans))


async def runs_in(client: PrefectClient, states: Iterable[StateType]) -> list[FlowRun]:
    """All flow runs in one of the given state types."""
    return await _runs(client, FlowRunFilter(state=_in(states)))


def _end_of(orphan: FlowRun) -> State:
    if orphan.state_type == StateType.PENDING:
        return Cancelled(message="its parent's process died before it began")
    return Crashed(message="its parent's process died")


def _in(states: Iterable[StateType]) -> FlowRunFilterState:
    return FlowRunFilterState(type=FlowRunFilterStateType(any_=list(states)))


async def _runs(client: PrefectClient, wanted: FlowRunFilter) -> list[FlowRun]:
    """All flow runs that a filter lets through."""
    found: list[FlowRun] = []
    while page := await client.read_flow_runs(flow_run_filter=wanted, limit=PAGE, offset=len(found)):
        found += page
        if len(page) < PAGE:
            break
    return found


async def _not_crashed(client: PrefectClient, runs: set[UUID]) -> set[UUID]:
    """Runs that were being cancelled and have ended: a worker that missed the cancellation calls that a crash."""
    if not runs:
        return set()
    wanted = FlowRunFilter(id=FlowRunFilterId(any_=sorted(runs)))
    ended = [run for run in await client.read_flow_runs(flow_run_filter=wanted) if run.state and run.state.is_final()]
    crashed = [run for run in ended if run.state_type == StateType.CRASHED]
    await asyncio.gather(*(_set(client, run, Cancelled(message="cancelled; its process has ended")) for run in crashed))
    return {run.id for run in ended}


async def _set(client: PrefectClient, run: FlowRun, state: State) -> None:
    try:
        await client.set_flow_run_state(run.id, state, force=state.type != StateType.CANCELLING)
    except ObjectNotFound:
        return  # deleted in the UI meanwhile


def _alive(run: FlowRun) -> bool:
    """Whether the process that the worker noted still works on this run (not just a process with its number)."""
    if not (run.infrastructure_pid or "").isdigit():
        return False
    try:
        environ = Path(f"/proc/{run.infrastructure_pid}/environ").read_bytes()
    except OSError:
        return False
    return f"PREFECT__FLOW_RUN_ID={run.id}".encode() in environ.split(b"\0")
