"""A campaign: one station flow per robot, then the report."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, cast

import httpx
from prefect import flow, get_run_logger
from prefect.artifacts import acreate_markdown_artifact, acreate_progress_artifact, aupdate_progress_artifact
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterName, FlowRunFilterState, FlowRunFilterStateType
from prefect.client.schemas.objects import State, StateType
from prefect.deployments import run_deployment
from prefect.exceptions import PrefectException

from data.campaign_state import CampaignState
from nightlab.records import CampaignSpec
from tasks.context import LabContext
from tasks.heart import heart, hearts_dir
from tasks.integrity import pinned

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from prefect.client.schemas.objects import FlowRun

RESTARTS = 5
"""How often in a row a station flow that crashed without having brought anything is started again."""
LIVE = (StateType.SCHEDULED, StateType.PENDING, StateType.RUNNING)
"""States of a station flow that is, or will be, at work."""
LOST_S = 2.0
"""Pause before the server is asked again about a station flow, wall seconds."""


@flow(name="campaign", flow_run_name="{spec.environment} campaign", persist_result=False)
async def campaign(spec: CampaignSpec) -> dict[str, Any]:
    """Let the researcher improve the environment's policy on the lab's stations until solved or out of budget.

    Args:
        spec: Environment, budget, researcher and target. Stations and profile must be those the lab was started with.
    """
    lab = LabContext.here()
    spec = await lab.keeper.start_campaign(pinned(spec))
    name = spec.campaign
    progress = await acreate_progress_artifact(
        progress=0.0, key=f"budget-{name}".lower(), description="wall budget used, %"
    )
    watcher = asyncio.create_task(_watch(lab, name, progress))
    try:
        async with heart(hearts_dir(lab.lab), "campaign"):
            await asyncio.gather(*(_serve(lab, name, f"robot-{number}") for number in range(1, spec.stations + 1)))
    finally:
        watcher.cancel()
    state = lab.state(name)
    await lab.note("campaign_ended", f"{name}:ended", campaign=name, reason=state.stop_reason())
    state = lab.state(name)
    await acreate_markdown_artifact(
        key=f"report-{name}".lower(), markdown=_markdown(state), description=f"{name} in short"
    )
    return {"campaign": name, "incumbent": state.incumbent, "solved": state.solved, "reason": state.stop_reason()}


async def _serve(lab: LabContext, campaign: str, robot: str) -> None:
    """Run the robot's station flow in its own pool, again if it crashes: what it had finished is in the ledger.

    A station flow that is alive already (the campaign's own process died, or the server was away) is waited for.
    """
    left = RESTARTS
    while left:
        seq = lab.ledger.last_seq()
        try:
            state = await _station(campaign, robot)
        except (httpx.HTTPError, PrefectException) as error:
            get_run_logger().warning("cannot follow the station flow of %s: %s", robot, error)
            await asyncio.sleep(LOST_S)
            continue
        if state is None or state.is_completed() or state.is_cancelled():
            return
        news = lab.ledger.events(campaign=campaign, since=seq)
        fruitful = any(event.station == robot and event.kind in ("episode", "iteration_ended") for event in news)
        left = RESTARTS if fruitful else left - 1
        get_run_logger().warning("station flow of %s ended %s; starting it again", robot, state)
        await asyncio.sleep(1.0)


async def _station(campaign: str, robot: str) -> State | None:
    """Start the robot's station flow, or find it alive, and return the state in which it ended."""
    name = f"{robot} {campaign}"
    async with get_client() as client:
        wanted = FlowRunFilter(
            name=FlowRunFilterName(any_=[name]), state=FlowRunFilterState(type=FlowRunFilterStateType(any_=list(LIVE)))
        )
        for found in await client.read_flow_runs(flow_run_filter=wanted, limit=1):
            while not (found.state is not None and found.state.is_final()):
                await asyncio.sleep(1.0)
                found = await client.read_flow_run(found.id)
            return found.state
    started = run_deployment(
        f"station/{robot}", parameters={"campaign": campaign, "station": robot}, flow_run_name=name, timeout=None,
        poll_interval=1,
    )  # fmt: skip
    run = await cast("Awaitable[FlowRun]", started)
    return run.state


async def _watch(lab: LabContext, campaign: str, artifact: Any) -> None:
    """Keep the budget's progress bar in the UI moving."""
    while True:
        await asyncio.sleep(5.0)
        state = lab.state(campaign)
        share = 1.0 - max(0.0, state.deadline_wall_s - time.time()) / state.spec.budget_s
        await aupdate_progress_artifact(artifact, progress=min(100.0, 100.0 * share))


def _markdown(state: CampaignState) -> str:
    """The campaign in a few lines, for the Prefect UI; the full report is report.html in the lab."""
    lines = [f"# {state.spec.campaign}: {state.spec.environment}", "", state.stop_reason(), ""]
    lines += ["| idea | what | decision | success |", "|---|---|---|---|"]
    lines += [
        f"| {idea.idea} | {idea.hypothesis} | {idea.decision.value if idea.decision else idea.status.value} | {idea.successes}/{idea.n} |"
        for idea in state.summaries()
    ]
    return "\n".join(lines)
