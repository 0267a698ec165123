"""A campaign: one station flow per robot, then the report."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, cast

from prefect import flow, get_run_logger
from prefect.artifacts import acreate_markdown_artifact, acreate_progress_artifact, aupdate_progress_artifact
from prefect.deployments import run_deployment

from data.campaign_state import CampaignState
from nightlab.records import CampaignSpec
from tasks.context import LabContext
from tasks.integrity import pinned

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from prefect.client.schemas.objects import FlowRun

RESTARTS = 5
"""How often a station flow that crashed is started again."""


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
        await asyncio.gather(*(_serve(name, f"robot-{number}") for number in range(1, spec.stations + 1)))
    finally:
        watcher.cancel()
    state = lab.state(name)
    await lab.note("campaign_ended", f"{name}:ended", campaign=name, reason=state.stop_reason())
    state = lab.state(name)
    await acreate_markdown_artifact(
        key=f"report-{name}".lower(), markdown=_markdown(state), description=f"{name} in short"
    )
    return {"campaign": name, "incumbent": state.incumbent, "solved": state.solved, "reason": state.stop_reason()}


async def _serve(campaign: str, robot: str) -> None:
    """Run the robot's station flow in its own pool, again if it crashes: what it had finished is in the ledger."""
    for _ in range(RESTARTS):
        started = run_deployment(
            f"station/{robot}", parameters={"campaign": campaign, "station": robot}, timeout=None, poll_interval=1
        )
        run = await cast("Awaitable[FlowRun]", started)
        if run.state is not None and run.state.is_completed():
            return
        if run.state is not None and run.state.is_cancelled():
            return
        get_run_logger().warning("station flow of %s ended %s; starting it again", robot, run.state)
        await asyncio.sleep(1.0)


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
