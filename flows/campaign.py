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
from flows.follow import Followed, states
from nightlab.errors import NightlabError
from nightlab.records import CampaignSpec
from tasks.context import LabContext
from tasks.heart import heart, hearts_dir
from tasks.integrity import pinned

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from prefect.client.schemas.objects import FlowRun

TELL_AFTER = 5
"""So many crashes in a row of a station flow, none of which brought anything, are written into the ledger."""
RESTART_S, LONGEST_RESTART_S = 1.0, 60.0
"""Pause before a crashed station flow is started again, doubled with each barren crash, and its bound; wall seconds."""
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
            robots = [declared.station for declared in lab.lab.config.stations[: spec.stations]]
            followed = Followed(states)
            ends = await asyncio.gather(*(_serve(lab, name, robot, followed) for robot in robots))
    finally:
        watcher.cancel()
    how = ", ".join(f"{robot} {end}" for robot, end in zip(robots, ends, strict=True))
    reason = lab.state(name).stop_reason(time.time()) or f"no station serves it any more: {how}"
    await lab.note("campaign_ended", f"{name}:ended", campaign=name, reason=reason)
    state = lab.state(name)
    await acreate_markdown_artifact(
        key=f"report-{name}".lower(), markdown=_markdown(state), description=f"{name} in short"
    )
    return {"campaign": name, "incumbent": state.incumbent, "solved": state.solved, "reason": state.stop_reason()}


async def _serve(lab: LabContext, campaign: str, robot: str, followed: Followed) -> str:
    """Run the robot's station flow in its own pool, again whenever it crashes: what it had finished is in the ledger.

    A station flow that is alive already (the campaign's own process died, or the server was away) is waited for. One
    that crashes again and again is tried until the campaign's end, ever more rarely, and ledger and log say so.

    Returns:
        How it ended, in Prefect's word.
    """
    barren, told = 0, False
    while True:
        seq = lab.ledger.last_seq()
        try:
            state = await _station(campaign, robot, followed)
        except (httpx.HTTPError, PrefectException) as error:
            get_run_logger().warning("cannot follow the station flow of %s: %s", robot, error)
            await asyncio.sleep(LOST_S)
            continue
        end = "deleted" if state is None else str(state.name)
        if state is not None and (state.is_completed() or state.is_cancelled()):
            return end
        news = lab.ledger.events(campaign=campaign, since=seq)
        fruitful = any(event.station == robot and event.kind in ("episode", "iteration_ended") for event in news)
        barren, told = (0, False) if fruitful else (barren + 1, told)
        if barren and lab.state(campaign).stop_reason(time.time()):
            return end
        if barren >= TELL_AFTER and not told:
            told = await _tell(lab, campaign, robot, f"{end} {barren} times in a row")
        pause_s = min(LONGEST_RESTART_S, RESTART_S * 2.0 ** min(max(0, barren - 1), 10))
        get_run_logger().warning(
            "station flow of %s ended %s; starting it again in %.0f s", robot, state or end, pause_s
        )
        await asyncio.sleep(min(pause_s, max(RESTART_S, lab.state(campaign).deadline_wall_s - time.time())))


async def _tell(lab: LabContext, campaign: str, robot: str, how: str) -> bool:
    """Write down that the robot stands idle because its flow crashes. False if the keeper is away."""
    reason = (
        f"its station flow ended {how} and brought nothing; it is tried again every {LONGEST_RESTART_S:g} s until the "
        "campaign's end. See run/logs/fleet.log of the lab"
    )
    try:
        event_id = f"station_fault:flow:{campaign}:{robot}:{lab.ledger.last_seq()}"
        await lab.note("station_fault", event_id, campaign=campaign, station=robot, reason=reason)
    except NightlabError as error:
        get_run_logger().warning("cannot write down that the station flow of %s crashes: %s", robot, error)
        return False
    return True


async def _station(campaign: str, robot: str, followed: Followed) -> State | None:
    """Start the robot's station flow, or find it alive, and return the state in which it ended; None: it was deleted."""
    name = f"{robot} {campaign}"
    wanted = FlowRunFilter(
        name=FlowRunFilterName(any_=[name]), state=FlowRunFilterState(type=FlowRunFilterStateType(any_=list(LIVE)))
    )
    async with get_client() as client:
        alive = await client.read_flow_runs(flow_run_filter=wanted, limit=1)
    if alive:
        return await followed.end(alive[0].id)
    started = run_deployment(
        f"station/{robot}", parameters={"campaign": campaign, "station": robot}, flow_run_name=name, timeout=0
    )
    run = await cast("Awaitable[FlowRun]", started)
    return await followed.end(run.id)


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
