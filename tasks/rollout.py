"""Stage 5: hand the deployed policy to a trial process and follow it. Episodes that are already finished are not repeated."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from typing import Any

from data.seeds import load_key, policy_secret
from nightlab.errors import NightlabError, PolicyError, ResetError, ServiceError, StationError, TamperError
from nightlab.processes import spawn_async
from nightlab.records import CampaignSpec, Checkpoint, SeedPool, StationPlace
from tasks.context import LabContext
from tasks.heart import hearts_dir
from tasks.reach import reachable
from tasks.stage import stage
from tasks.trial_job import PolicyFiles, TrialJob, TrialResult

PARKED_EVENT = "nightlab.station.parked"
KINDS: dict[str, type[NightlabError]] = {
    "StationError": StationError,
    "ResetError": ResetError,
    "ResetFailed": ResetError,
    "PolicyError": PolicyError,
    "TamperError": TamperError,
}
TRIAL_STARTS = 5
"""How often the trial of one rollout is started when it is killed or loses its station: it runs the missing seeds."""
STOP_GRACE_S = 5.0
"""How long a trial may take to hold the robot and give its lease back when it is told to stop."""


class TrialKilled(ServiceError):
    """A signal ended the trial process: it may be started again."""


@stage("rollout")
async def rollout(
    lab: LabContext,
    campaign: str,
    iteration: str,
    *,
    station: str,
    idea: str,
    checkpoint: dict[str, Any],
    pool: str = "",
    seeds: list[int] | None = None,
    station_seed: int | None = None,
) -> dict[str, Any]:
    """Deployed policy (and seeds, or none for a paired trial against the incumbent) → episodes in the ledger.

    Raises ResetError when the station has to be parked; a person is paged by the Prefect event `nightlab.station.parked`.
    """
    for start in range(1, TRIAL_STARTS + 1):
        job = await _job(lab, campaign, iteration, station, idea, checkpoint, pool, seeds, station_seed)
        there = await reachable(lab, campaign, iteration, job.places or (job.place,))
        job = job.model_copy(update={"places": tuple(there) if job.places else ()})
        try:
            result = await run_trial(lab, job, on_line=lambda _: None)
            return result.model_dump(mode="json")
        except TrialKilled as error:
            if start == TRIAL_STARTS:
                raise
            await lab.note(
                "note", f"{campaign}:{iteration}:trial-killed:{time.time_ns()}", campaign=campaign, iteration=iteration,
                station=station, text=f"{error} Started again.",
            )  # fmt: skip
        except ResetError as error:
            page(campaign, iteration, station, str(error))
            raise
        except StationError:  # it was away for longer than a trial waits: wait for it here, then go on
            if start == TRIAL_STARTS:
                raise
    raise AssertionError("unreachable")


def page(campaign: str, iteration: str, station: str, reason: str) -> None:
    """Page a person: a Prefect event, to which an automation can tie a message, an e-mail or a call."""
    from prefect.events import emit_event

    emit_event(
        event=PARKED_EVENT,
        resource={"prefect.resource.id": f"nightlab.station.{station}", "prefect.resource.name": station},
        payload={"campaign": campaign, "iteration": iteration, "reason": reason},
    )


async def _job(
    lab: LabContext,
    campaign: str,
    iteration: str,
    station: str,
    idea: str,
    checkpoint: dict[str, Any],
    pool: str,
    seeds: list[int] | None,
    station_seed: int | None,
) -> TrialJob:
    made = Checkpoint.model_validate(checkpoint)
    code_dir = await lab.keeper.export_idea(idea)
    spec = lab.spec(campaign)
    return TrialJob(
        campaign=spec,
        iteration=iteration,
        place=lab.place(station),
        places=() if ".r" in iteration else tuple(_places(lab, spec, iteration, station, idea_trial=seeds is None)),
        ledger=str(lab.lab.ledger_path),
        keeper_socket=str(lab.lab.keeper_socket),
        verifier_socket=str(lab.lab.verifier_socket),
        candidate=PolicyFiles(
            idea=idea, code_dir=str(code_dir), checkpoint_dir=str(lab.lab.path / made.path), sha256=made.sha256
        ),
        compare=seeds is None,
        pool=SeedPool(pool) if pool else SeedPool.SEARCH,
        seeds=tuple(seeds or ()),
        station_seed=station_seed,
        policy_secret=policy_secret(load_key(lab.lab.key_path)),
        hearts_dir=str(hearts_dir(lab.lab)),
    )


def _places(
    lab: LabContext, spec: CampaignSpec, iteration: str, station: str, *, idea_trial: bool
) -> list[StationPlace]:
    """Where a trial may run: an idea's at any station of the kind, but not at two where stations differ."""
    if not (idea_trial and spec.share):
        return [lab.place(station)]
    begun = lab.state(spec.campaign).begun(iteration) if spec.stations_differ else ""
    return [lab.place(begun)] if begun else lab.alike(station)


async def run_trial(lab: LabContext, job: TrialJob, *, on_line: Callable[[dict[str, Any]], None]) -> TrialResult:
    """Run the trial process to its end; cancelled, it is told to stop and given STOP_GRACE_S before it is killed."""
    jobs = lab.lab.run_dir / "jobs"
    jobs.mkdir(parents=True, exist_ok=True)
    path = jobs / f"{job.iteration}.json"
    path.write_text(job.model_dump_json())
    process = await spawn_async(
        [sys.executable, "-m", "tasks.trial", str(path)], stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stderr is not None
    errors = asyncio.create_task(process.stderr.read())
    failure: dict[str, Any] = {}
    result: TrialResult | None = None
    try:
        async for line in process.stdout:
            with contextlib.suppress(ValueError):
                message = json.loads(line)
                if "result" in message:
                    result = TrialResult.model_validate(message["result"])
                    continue
                if "error" in message:
                    failure = message
                on_line(message)
        code = await process.wait()
    except asyncio.CancelledError:
        await _stop(process)
        raise
    finally:
        if process.returncode is None:
            await _stop(process)
    if code == 0 and result is not None:
        return result
    if failure:
        raise KINDS.get(failure["kind"], ServiceError)(failure["error"])
    if code < 0:
        raise TrialKilled(f"the trial process of {job.iteration} was killed by signal {-code}.")
    tail = (await errors).decode(errors="replace")[-1500:]
    raise ServiceError(
        f"the trial process of {job.iteration} ended with code {code}; run it again with: "
        f"nightlab replay {job.iteration} --from rollout\n{tail}"
    )


async def _stop(process: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(asyncio.shield(process.wait()), STOP_GRACE_S)
        except (TimeoutError, asyncio.CancelledError):
            os.killpg(process.pid, signal.SIGKILL)
