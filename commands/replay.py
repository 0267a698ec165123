"""`nightlab replay`: run an iteration again from one of its stages, in its robot's pool, and follow it."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Annotated, Any

import typer

from nightlab.errors import ServiceError, UsageError

STAGES = ("propose", "train", "deploy", "rollout")


def replay(
    iteration: Annotated[str, typer.Argument(help="Iteration, e.g. I17")],
    from_stage: Annotated[
        str, typer.Option("--from", help="First stage to execute: propose, train, deploy or rollout")
    ] = "rollout",
    lab: Annotated[Path, typer.Option(help="Lab directory")] = Path("lab"),
    station: Annotated[str, typer.Option(help="Robot; default: the one that ran it")] = "",
    edit: Annotated[Path | None, typer.Option(help="Directory with mended files; only with --from propose")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON")] = False,
) -> None:
    """Replay an iteration as I17.r1: earlier stages keep their results; it enters no decision."""
    if from_stage not in STAGES:
        raise UsageError.unknown("stage", from_stage, STAGES, f"nightlab replay {iteration} --from rollout")
    if edit is not None and (from_stage != "propose" or not edit.is_dir()):
        raise UsageError(
            f"--edit {edit}: give a directory with the mended policy.py or train.py, together with --from propose"
        )
    asyncio.run(_replay(lab, iteration, from_stage, station, edit, as_json=as_json))


async def _replay(
    path: Path, iteration: str, from_stage: str, station: str, edit: Path | None, *, as_json: bool
) -> None:
    from commands.down import stop_lab
    from commands.environment import adopt, service_environment
    from commands.run import state_api_url
    from commands.up import start_lab
    from data.keeper_client import KeeperClient
    from data.lab import Lab
    from data.ledger import LedgerReader

    lab = Lab.open(path)
    claims = LedgerReader(lab.ledger_path).events(kind="work_claimed")
    known = {event.iteration: event for event in claims}
    if iteration not in known:
        raise UsageError.unknown("iteration", iteration, known, f"nightlab tree --lab {path}")
    say = (lambda *_: None) if as_json else print
    was_running = start_lab(lab.path, say=say)
    try:
        adopt(service_environment(lab.path, state_api_url(lab)))
        from commands.prefect_api import run_state, start_run

        robot = station or known[iteration].station
        parameters = {
            "campaign": known[iteration].campaign, "iteration": iteration, "station": robot, "from_stage": from_stage,
            "edit": str(edit.resolve()) if edit else None,
        }  # fmt: skip
        run_id = await start_run(f"replay/{robot}", parameters)
        while not (state := await run_state(run_id)).final:
            await asyncio.sleep(0.5)
        if not state.completed:
            raise ServiceError(f"the replay ended {state.name}: {state.message}. See run/logs/fleet.log of the lab")
        keeper = KeeperClient(lab.keeper_socket)
        await keeper.flush(300.0)
        await keeper.close()
    finally:
        if not was_running:
            stop_lab(lab.path, say=say)
    result = outcome(lab, iteration)
    if as_json:
        print(json.dumps(result))
    else:
        print(
            f"{result['iteration']}: {result['successes']} of {result['n']} succeed; "
            f"{result['same_verdicts']} of {result['compared']} verdicts as in {iteration}; stages run: {', '.join(result['stages'])}"
        )


def outcome(lab: Any, iteration: str) -> dict[str, Any]:
    """The latest replay of an iteration beside its origin, from the ledger."""
    from data.ledger import LedgerReader
    from data.pairs import Result
    from data.statistics import rate
    from nightlab.records import EpisodeRecord, Outcome

    reader = LedgerReader(lab.ledger_path)
    started = [event for event in reader.events(kind="note") if event.data.get("replay_of") == iteration.split(".r")[0]]
    again = started[-1].iteration if started else f"{iteration}.r?"
    episodes = [EpisodeRecord.model_validate(event.data) for event in reader.events(kind="episode")]
    scored = [record for record in episodes if record.verdict.outcome is not Outcome.UNSCORED]
    first = {
        (record.key.pool, record.key.seed): record
        for record in scored
        if record.key.iteration == iteration and record.key.idea == iteration.split(".")[0]
    }
    mine = {(record.key.pool, record.key.seed): record for record in scored if record.key.iteration == again}
    both = [key for key in mine if key in first]
    stages = [event.data["stage"] for event in reader.events(kind="stage_started") if event.iteration == again]
    measured = rate(Result.of(record) for record in mine.values())
    return {
        "iteration": again,
        "n": measured.n,
        "successes": measured.successes,
        "compared": len(both),
        "same_verdicts": sum(mine[key].verdict.outcome is first[key].verdict.outcome for key in both),
        "stages": list(dict.fromkeys(stages)),
    }
