"""Stage 2: a researcher edits a private copy of the incumbent; the keeper commits it as an idea.

The offline researcher is told of every pending idea, so its proposals are made one at a time (tasks/turns.py, over the
lab's fleet); coding agents think in parallel.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from agents import make_researcher
from agents.clock import parse_clock
from data.disk import short
from nightlab.errors import DiskFullError, UsageError
from nightlab.records import CampaignSpec, Passage, Proposal, ProposalContext, ProposalStatus
from nightlab.seeding import derive
from tasks.context import LabContext
from tasks.stage import stage
from tasks.turns import turn

TRIES = 3
"""Proposals asked for before the iteration ends as NO_CHANGE."""


@stage("propose", retry_delays_s=(2.0, 10.0))
async def propose(
    lab: LabContext, campaign: str, iteration: str, *, station: str, parent: str, literature: dict[str, Any]
) -> dict[str, Any]:
    """Parent, digest of the ledger, passages → idea commit, or `{"idea": None, "detail": why}`."""
    committed = lab.idea(iteration)
    if committed is not None:
        return {"idea": committed.model_dump(mode="json"), "detail": "committed before"}
    spec = lab.spec(campaign)
    await asyncio.sleep(think_wall_s(spec, iteration))
    passages = tuple(Passage.model_validate(passage) for passage in literature.get("passages", ()))
    detail = ""
    for attempt in range(TRIES):
        if attempt and (over := lab.state(campaign).stop_reason(time.time())):
            return {"idea": None, "detail": over}
        name = spec.researcher if attempt < TRIES - 1 else "offline"
        async with turn(lab.lab.run_dir / "propose") if name == "offline" else nullcontext():
            proposal, workspace = await _ask(lab, spec, name, iteration, parent, passages, literature, attempt)
            if proposal.status is not ProposalStatus.OK and (lack := short(lab.lab)):
                raise DiskFullError(f"{name} had no room to work in: {lack}")  # the stage waits, and asks again
            await _usage(lab, campaign, iteration, station, proposal)
            if proposal.status is ProposalStatus.OK:
                try:
                    idea = await lab.keeper.commit_idea(campaign, iteration, proposal, workspace)
                except UsageError as error:  # links, foreign or oversized files: the researcher's fault, not the lab's
                    return {"idea": None, "detail": f"{name}: refused: {error}"}
                return {"idea": idea.model_dump(mode="json"), "detail": proposal.detail}
        detail = f"{name}: {proposal.status.value} {proposal.detail}".strip()
        if proposal.status is ProposalStatus.NO_CHANGE:
            break
        if proposal.status is ProposalStatus.RATE_LIMITED:
            await asyncio.sleep(2.0**attempt)
    return {"idea": None, "detail": detail}


def think_wall_s(spec: CampaignSpec, iteration: str) -> float:
    """Wall seconds that the clock gives the researcher for an iteration; 0 without one, or at speed `max`."""
    clock = parse_clock(spec.think)
    return clock.draw_s(derive(spec.seed, "think", iteration)) / spec.speed if spec.speed else 0.0


@stage("propose")
async def mend(
    lab: LabContext, campaign: str, iteration: str, *, station: str, origin: str, edit: str
) -> dict[str, Any]:
    """A person's mended files as the idea `I5.r1`; the propose stage of a replay."""
    idea = await lab.keeper.commit_mended(campaign, iteration, origin, Path(edit))
    return {"idea": idea.model_dump(mode="json"), "detail": f"mended by a person after {origin}"}


async def _ask(
    lab: LabContext,
    spec: CampaignSpec,
    name: str,
    iteration: str,
    parent: str,
    passages: tuple[Passage, ...],
    literature: dict[str, Any],
    attempt: int,
) -> tuple[Proposal, Path]:
    """One proposal by one researcher in a fresh workspace."""
    workspace = await lab.keeper.open_workspace(iteration, parent)
    state = lab.state(spec.campaign)
    context = ProposalContext(
        campaign=spec.campaign,
        environment=spec.environment,
        goal=literature.get("goal", spec.environment),
        idea=iteration,
        incumbent=parent,
        workspace=str(workspace),
        ideas=state.summaries(),
        passages=passages,
        failure_histogram=literature.get("histogram", {}),
        seed=derive(spec.seed, "propose", iteration, attempt),
        tokens_left=None if spec.token_budget is None else max(0, spec.token_budget - state.tokens),
        wall_left_s=max(0.0, state.deadline_wall_s - time.time()),
    )
    researcher = make_researcher(name, seed=derive(spec.seed, "researcher"))
    begin_s = time.monotonic()
    proposal = await researcher.propose(context)
    return proposal.model_copy(update={"wall_s": time.monotonic() - begin_s}), workspace


async def _usage(lab: LabContext, campaign: str, iteration: str, station: str, proposal: Proposal) -> None:
    """Every proposal's tokens count, also those of refused ones."""
    await lab.note(
        "usage",
        f"{campaign}:{iteration}:usage:{time.time_ns()}",
        campaign=campaign,
        iteration=iteration,
        station=station,
        researcher=proposal.researcher,
        status=proposal.status.value,
        wall_s=proposal.wall_s,
        **proposal.usage.model_dump(mode="json"),
    )
