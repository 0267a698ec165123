"""Run an iteration again from one of its stages: earlier stages keep their results, later ones are executed."""

from __future__ import annotations

from typing import Any, Literal

from prefect import flow

from nightlab.errors import UsageError
from nightlab.records import IterationStatus, SeedPool
from tasks.context import LabContext
from tasks.deploy import deploy
from tasks.literature import literature
from tasks.propose import mend, propose
from tasks.rollout import rollout
from tasks.summarize import summarize
from tasks.train import train
from tasks.verify import verify

STAGES = ("literature", "propose", "train", "deploy", "rollout", "verify", "summarize")
Stage = Literal["propose", "train", "deploy", "rollout"]


@flow(name="replay", flow_run_name="replay {iteration} from {from_stage}", persist_result=False)
async def replay(
    campaign: str, iteration: str, station: str, from_stage: Stage = "rollout", edit: str | None = None
) -> dict[str, Any]:
    """Replay `iteration`: a new iteration `I17.r1` on the same seeds, which enters no decision.

    Args:
        campaign: The campaign, e.g. `C1`.
        iteration: The iteration to replay, e.g. `I17`.
        station: The robot to run on.
        from_stage: First stage to execute. Earlier ones keep the origin's results.
        edit: Directory with mended files (policy.py, train.py, params.yaml); commits them as the idea `I17.r1`. Only
            with `from_stage="propose"`.
    """
    lab = LabContext.here()
    again = await lab.keeper.start_replay(campaign, iteration, station, from_stage)
    first = STAGES.index(from_stage)
    origin: dict[str, Any] = {"campaign": campaign, "iteration": iteration, "station": station}
    who: dict[str, Any] = {**origin, "iteration": again.iteration}

    def stage_of(stage: str) -> dict[str, Any]:
        return who if STAGES.index(stage) >= first else origin

    idea = again.idea
    if edit is not None and from_stage != "propose":
        raise UsageError("an edit changes the idea, so it needs from_stage propose; asked was " + from_stage)
    if edit is not None:
        idea = (await mend(**who, origin=iteration, edit=edit))["idea"]["idea"]
    elif not idea or from_stage == "propose":
        passages = await literature(**origin)
        idea = (await propose(**stage_of("propose"), parent=again.parent, literature=passages))["idea"]["idea"]
    checkpoint = await train(**stage_of("train"), idea=idea)
    deployed = await deploy(**stage_of("deploy"), idea=idea, checkpoint=checkpoint)
    if deployed["problems"]:
        await lab.keeper.end_iteration(
            campaign, again.iteration, IterationStatus.REJECTED, "; ".join(deployed["problems"])
        )
        return {
            "iteration": again.iteration,
            "status": IterationStatus.REJECTED.value,
            "problems": deployed["problems"],
        }
    pool = again.pool or SeedPool.SEARCH
    await rollout(
        **who,
        idea=idea,
        checkpoint=checkpoint,
        pool=pool.value,
        seeds=list(again.seeds),
        station_seed=again.station_seed,
    )
    audit = await verify(**who)
    result: dict[str, Any] = await summarize(**who, decide=False, audit=audit)
    return {"iteration": again.iteration, "idea": idea, **result}
