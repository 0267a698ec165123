"""One idea's way through the seven stages, on the robot whose pool it was started in.

Also what a person starts from the Prefect UI: `iteration/robot-1` asks the keeper for the next work of that robot.
"""

from __future__ import annotations

import time
from typing import Any

from prefect import flow, get_run_logger
from prefect.runtime import flow_run

from data.schedule import stop_preparing
from nightlab.errors import NightlabError, PolicyError, ResetError, TamperError
from nightlab.records import IterationStatus, Work, WorkKind
from tasks.context import LabContext
from tasks.deploy import deploy
from tasks.integrity import end_tampered
from tasks.literature import literature
from tasks.propose import propose
from tasks.rollout import rollout
from tasks.room import waited
from tasks.summarize import summarize
from tasks.train import train
from tasks.verify import verify

MOST_PARKINGS = 2
"""An idea in whose trial the reset gives up so often (say, it throws the pin off the table) is a crash, not bad luck."""


class Over(NightlabError):
    """The campaign ends, and no robot has begun this work: what was not done for it yet is not done."""


def run_name() -> str:
    """`I17 on robot-1` in the UI; without the iteration while it is not claimed yet."""
    asked = flow_run.get_parameters()
    work = asked.get("work")
    name = getattr(work, "iteration", "") or (work.get("iteration", "") if isinstance(work, dict) else "")
    return named(name, asked.get("station", ""))


def named(iteration: str, station: str) -> str:
    """The name of a run in the UI."""
    return f"{iteration or 'next work'} on {station}"


@flow(name="iteration", flow_run_name=run_name, persist_result=False)
async def iteration(campaign: str, station: str, work: Work | None = None) -> dict[str, Any]:
    """Run one piece of work: a new idea, or an evaluation of an existing one (baseline, held-out, filler).

    Args:
        campaign: The campaign, e.g. `C1`.
        station: The robot, e.g. `robot-1`; must be the robot of the pool that runs this flow.
        work: What to do; empty asks the keeper.
    """
    lab = LabContext.here()
    if work is None:
        work = await lab.keeper.claim(campaign, station)
    if work.kind in (WorkKind.WAIT, WorkKind.STOP):
        return {"status": work.kind.value, "reason": work.reason}
    while True:
        try:
            return await (_search(lab, work) if work.kind is WorkKind.SEARCH else _evaluate(lab, work))
        except TamperError as error:
            return await end_tampered(lab, work, error)
        except Over as over:
            return await _end(lab, work, IterationStatus.STOPPED, str(over))
        except ResetError as error:  # parked: the work stays open, for this station after `nightlab unpark`
            get_run_logger().error("%s", error)
            parkings = resets_given_up(lab, work)
            if work.kind is WorkKind.SEARCH and parkings >= MOST_PARKINGS:
                return await _end(
                    lab, work, IterationStatus.CRASHED, f"it parked its station {parkings} times: {error}"
                )
            return {"status": "parked", "reason": str(error)}
        except Exception as error:
            if await waited(lab, error):
                continue  # the disk was full, there is room again: finished stages and episodes are found again
            await _end(lab, work, IterationStatus.CRASHED, f"{type(error).__name__}: {error}"[:1000])
            raise


def go_on(lab: LabContext, work: Work) -> None:
    """Before a stage: raises Over if no robot will begin this work."""
    reason = stop_preparing(lab.state(work.campaign), work, time.time())
    if reason:
        raise Over(reason)


def begun(lab: LabContext, work: Work, tried: dict[str, Any]) -> None:
    """After the trial: raises Over if it was stopped before its first episode. There is nothing to verify or to judge.

    Args:
        lab: The lab.
        work: What was to be done.
        tried: What `rollout` returned.
    """
    if not lab.state(work.campaign).begun(work.iteration):
        raise Over(tried["stopped"])


def resets_given_up(lab: LabContext, work: Work) -> int:
    """How often a reset has given up after an episode of this iteration, and parked the station."""
    events = lab.ledger.events(campaign=work.campaign, iteration=work.iteration, kind="station_parked")
    return sum("reset" in event.data for event in events)


async def _search(lab: LabContext, work: Work) -> dict[str, Any]:
    """A new idea: think, train, check, try, judge."""
    who: dict[str, Any] = {"campaign": work.campaign, "iteration": work.iteration, "station": work.station}
    go_on(lab, work)
    try:
        passages = await literature(**who)
    except NightlabError as error:
        passages = {"passages": [], "histogram": {}, "missing": str(error)}
    go_on(lab, work)
    proposed = await propose(**who, parent=work.parent, literature=passages)
    if proposed["idea"] is None:
        go_on(lab, work)
        return await _end(lab, work, IterationStatus.NO_CHANGE, proposed["detail"])
    idea = proposed["idea"]["idea"]
    go_on(lab, work)
    try:
        checkpoint = await train(**who, idea=idea)
    except NightlabError as error:
        return await _end(lab, work, IterationStatus.CRASHED, str(error))
    go_on(lab, work)
    deployed = await deploy(**who, idea=idea, checkpoint=checkpoint)
    if deployed["problems"]:
        return await _end(lab, work, IterationStatus.REJECTED, "; ".join(deployed["problems"]))
    go_on(lab, work)
    try:
        tried = await rollout(**who, idea=idea, checkpoint=checkpoint)
    except PolicyError as error:
        return await _end(lab, work, IterationStatus.REJECTED, str(error))
    begun(lab, work, tried)
    audit = await verify(**who)
    result: dict[str, Any] = await summarize(**who, decide=True, audit=audit)
    return result


async def _evaluate(lab: LabContext, work: Work) -> dict[str, Any]:
    """An existing idea on given seeds: baseline, held-out draw, filler work."""
    who: dict[str, Any] = {"campaign": work.campaign, "iteration": work.iteration, "station": work.station}
    go_on(lab, work)
    checkpoint = await train(work.campaign, work.idea, station=work.station, idea=work.idea)
    go_on(lab, work)
    await deploy(**who, idea=work.idea, checkpoint=checkpoint)
    go_on(lab, work)
    tried = await rollout(
        **who, idea=work.idea, checkpoint=checkpoint, pool=work.pool.value if work.pool else "",
        seeds=list(work.seeds), station_seed=work.station_seed,
    )  # fmt: skip
    begun(lab, work, tried)
    audit = await verify(**who)
    result: dict[str, Any] = await summarize(**who, decide=False, audit=audit)
    return result


async def _end(lab: LabContext, work: Work, status: IterationStatus, detail: str) -> dict[str, Any]:
    await lab.keeper.end_iteration(work.campaign, work.iteration, status, detail)
    return {"status": status.value, "reason": detail}
