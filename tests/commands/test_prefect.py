"""One Prefect server and one fleet for all tests of this file (see `prefect_lab`)."""

import asyncio
import os
import signal
import subprocess
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
from conftest import HERE, start_fleet, until

from data.lab import Lab
from nightlab.errors import ServiceError, UsageError
from nightlab.records import CampaignSpec

pytestmark = pytest.mark.timeout(180)


def with_client(body: Callable[[Any], Awaitable[Any]]) -> Any:
    from prefect.client.orchestration import get_client

    async def main() -> Any:
        async with get_client() as client:
            return await body(client)

    return asyncio.run(main())


def start(deployment: str, **parameters: Any) -> UUID:
    from commands.prefect_api import start_run

    return asyncio.run(start_run(deployment, parameters))


def state_of(run: UUID) -> str:
    async def read(client: Any) -> str:
        state = (await client.read_flow_run(run)).state
        return str(state.name) if state else ""

    return str(with_client(read))


def first_line(path: Path, timeout_s: float = 40.0) -> list[str]:
    until(lambda: path.exists() and path.read_text().endswith("\n"), f"the flow writes {path.name}", timeout_s)
    return path.read_text().split()


def test_every_robot_has_a_pool_and_its_forms(prefect_lab: Path) -> None:
    async def read(client: Any) -> tuple[list[Any], list[Any]]:
        return await client.read_work_pools(), await client.read_deployments()

    pools, deployments = with_client(read)
    assert {pool.name for pool in pools} >= {"campaign", "robot-1", "robot-2"}
    assert all(pool.concurrency_limit >= 4 for pool in pools), "a person can run something beside the station flow"
    by_pool = {deployment.work_pool_name: deployment for deployment in deployments}
    assert set(by_pool) >= {"campaign", "robot-1", "robot-2"}
    robot = by_pool["robot-2"]
    assert robot.name == "robot-2"
    assert robot.entrypoint == "dummy_flows.station"
    assert robot.parameters == {"station": "robot-2"}, "the form of a robot's pool is filled in with its name"
    assert robot.enforce_parameter_schema
    form = by_pool["campaign"]
    assert form.parameter_openapi_schema["properties"]["episodes"]["type"] == "integer"
    spec = CampaignSpec.model_validate(form.parameters["spec"])
    asked = (spec.environment, spec.stations, spec.profile, spec.speed)
    assert asked == ("push_t", 2, "real", 5.0), "the form of a campaign is filled in with the lab's stations"
    described = form.parameter_openapi_schema["definitions"]["CampaignSpec"]["properties"]
    assert described["budget_s"]["description"] == "Wall seconds.", "the form says what its fields mean"


def test_ensure_again_changes_nothing(prefect_lab: Path) -> None:
    from commands.deployments import ensure

    def again() -> dict[str, UUID]:
        flows: dict[str, Any] = {
            "station_flows": ["dummy_flows.station"],
            "campaign_flows": ["dummy_flows.campaign"],
        }
        return asyncio.run(ensure(["robot-1"], **flows, config=Lab(prefect_lab).config))

    assert again() == again()


def test_a_lab_from_when_heartbeats_came_more_often_is_told_the_new_period(
    prefect_lab: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The old automation would take every flow run for dead between two of its heartbeats."""
    from commands import deployments

    def periods_s() -> list[float]:
        async def read(client: Any) -> list[float]:
            await deployments.ensure_zombie_automation(client)
            found = await client.read_automations_by_name("nightlab: flow runs whose process is gone")
            return [automation.trigger.within.total_seconds() for automation in found]

        return list(with_client(read))

    now_s = deployments.ZOMBIE_S
    assert periods_s() == [now_s]
    monkeypatch.setattr(deployments, "ZOMBIE_S", 120)
    assert periods_s() == [120]
    monkeypatch.undo()
    assert periods_s() == periods_s() == [now_s]


def test_a_missing_flow_is_one_clear_line(prefect_lab: Path) -> None:
    from commands.deployments import ensure

    with pytest.raises(ServiceError, match=r"cannot load the flow dummy_flows\.absent: .*nightlab doctor"):
        asyncio.run(ensure([], station_flows=["dummy_flows.absent"], campaign_flows=[]))


def test_a_run_starts_in_its_pool_within_seconds(prefect_lab: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    begin_s = time.time()
    run = start("station/robot-1", out=str(out))
    begun_s, _, station = first_line(out)
    takes_s = float(begun_s) - begin_s
    print(f"dispatch took {takes_s:.1f} s")
    assert takes_s < 10.0, "workers poll every 20 s: it was rung for"
    assert station == "robot-1"
    until(lambda: state_of(run) == "Completed", "the run completes")


def test_bad_parameters_are_refused_at_once(prefect_lab: Path) -> None:
    with pytest.raises(UsageError, match="episodes"):
        start("campaign/campaign", out="nowhere", episodes="many")
    with pytest.raises(UsageError, match="campaign/absent"):
        start("campaign/absent")


def test_what_still_runs_can_be_found(prefect_lab: Path, tmp_path: Path) -> None:
    from commands.prefect_api import live_runs, run_state

    out = tmp_path / "out"
    run = start("campaign/campaign", out=str(out), episodes=2, spec={"campaign": "C7"})
    first_line(out)
    assert asyncio.run(live_runs("campaign")) == [run]
    assert asyncio.run(live_runs("campaign", "C7")) == [run]
    assert asyncio.run(live_runs("campaign", "C8")) == [], "another campaign's run is not this one's"
    until(lambda: asyncio.run(run_state(run)).final, "the campaign ends")
    assert asyncio.run(run_state(run)).completed
    assert asyncio.run(live_runs("campaign")) == []


def test_an_estop_is_a_prefect_event(prefect_lab: Path) -> None:
    from commands.station_watch import ESTOPPED, tell_prefect

    tell_prefect(ESTOPPED, "robot-1", {"campaign": "C1", "reason": "smoke"})

    def seen() -> list[Any]:
        asked = {"filter": {"event": {"name": [ESTOPPED]}}}
        found = httpx.post(f"{os.environ['PREFECT_API_URL']}/events/filter", json=asked).json()["events"]
        return [event["payload"] for event in found if event["resource"]["prefect.resource.name"] == "robot-1"]

    until(seen, "the server has the event")
    assert seen()[0]["reason"] == "smoke"


def test_a_cron_deployment_yields_scheduled_runs(prefect_lab: Path) -> None:
    """With SQLAlchemy 2.1 a schedule reads as active and never fires; see requirements in pyproject.toml."""
    from prefect.client.schemas.actions import DeploymentScheduleCreate
    from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterId
    from prefect.client.schemas.schedules import CronSchedule

    async def schedule(client: Any) -> UUID:
        flow = await client.create_flow_from_name("station")
        return UUID(
            str(
                await client.create_deployment(
                    flow,
                    "nightly",
                    entrypoint="dummy_flows.station",
                    work_pool_name="robot-1",
                    schedules=[
                        DeploymentScheduleCreate(schedule=CronSchedule(cron="0 22 * * *", timezone="Europe/Berlin"))
                    ],
                )
            )
        )

    nightly = with_client(schedule)

    def scheduled() -> list[Any]:
        async def read(client: Any) -> list[Any]:
            wanted = DeploymentFilter(id=DeploymentFilterId(any_=[nightly]))
            return list(await client.read_flow_runs(deployment_filter=wanted))

        return list(with_client(read))

    try:
        until(scheduled, "the scheduler makes runs of a cron deployment", 20.0)
        runs = scheduled()
        assert all(run.state.is_scheduled() for run in runs)
        assert min(run.expected_start_time for run in runs) > datetime.now(UTC)
    finally:
        with_client(lambda client: client.delete_deployment(nightly))


def test_cancelling_runs_the_flows_finally(prefect_lab: Path, tmp_path: Path) -> None:
    from commands.flow_runs import drain

    out = tmp_path / "out"
    run = start("station/robot-2", out=str(out), sleep_s=120)
    first_line(out)
    assert asyncio.run(drain(grace_s=30.0)) == 0
    assert (tmp_path / "out.finally").exists(), "a cancelled flow releases its robot"
    assert state_of(run) == "Cancelled"


def test_a_cancellation_that_the_worker_missed_still_ends_the_run(prefect_lab: Path) -> None:
    from prefect.states import Cancelling, Crashed, Running

    async def begin(client: Any) -> UUID:
        """A flow run of a process that no worker knows."""
        flow = await client.create_flow_from_name("orphan")
        async with httpx.AsyncClient(timeout=30.0, trust_env=False) as http:
            answer = await http.post(f"{os.environ['PREFECT_API_URL']}/flow_runs/", json={"flow_id": str(flow)})
        return UUID(answer.json()["id"])

    run = with_client(begin)
    process = subprocess.Popen(["sleep", "120"], env={**os.environ, "PREFECT__FLOW_RUN_ID": str(run)})

    async def cancel(client: Any) -> None:
        await client.update_flow_run(run, infrastructure_pid=str(process.pid))
        await client.set_flow_run_state(run, Running(), force=True)
        await client.set_flow_run_state(run, Cancelling())

    try:
        with_client(cancel)
        assert process.wait(30) == -signal.SIGTERM, "the fleet ends it"
        with_client(lambda client: client.set_flow_run_state(run, Crashed(), force=True))  # as its worker would call it
        until(lambda: state_of(run) == "Cancelled", "what was cancelled is Cancelled, however it ended", 30.0)
    finally:
        process.kill()
        process.wait()


def test_a_killed_flow_is_crashed_at_once(prefect_lab: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run = start("station/robot-1", out=str(out), sleep_s=120)
    os.kill(int(first_line(out)[1]), signal.SIGKILL)
    until(lambda: state_of(run) == "Crashed", "a killed flow's run is Crashed", 10.0)


def test_a_killed_flow_leaves_no_subflow_that_runs_for_ever(prefect_lab: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    start("station/robot-1", out=str(out), sleep_s=120, nested=True)
    inner, pid = first_line(out)
    assert state_of(UUID(inner)) == "Running"
    os.kill(int(pid), signal.SIGKILL)
    until(lambda: state_of(UUID(inner)) == "Crashed", "the subflow ends with its parent's process", 20.0)


def test_no_database_is_locked_at_eight_pools(prefect_lab: Path) -> None:
    """Stock Prefect answers 6 % of such writes with 503."""
    from commands.deployments import ensure_pool, job_template

    url = os.environ["PREFECT_API_URL"]

    async def main() -> list[str]:
        from prefect.client.orchestration import get_client

        names = [f"lock-{number}" for number in range(8)]
        async with get_client() as client:
            await asyncio.gather(*(ensure_pool(client, name, job_template("true")) for name in names))
        async with httpx.AsyncClient(timeout=60.0, trust_env=False) as http:
            flow = (await http.post(f"{url}/flows/", json={"name": "locks"})).json()["id"]
            codes, written = list[str](), asyncio.Event()

            async def poll(name: str) -> None:
                while not written.is_set():
                    answer = await http.post(f"{url}/work_pools/{name}/get_scheduled_flow_runs", json={})
                    codes.append(f"{answer.status_code} {answer.text[:80] if answer.is_error else ''}")
                    await asyncio.sleep(0.2)

            async def write() -> None:
                for _ in range(20):  # a number, not a time: a slow machine asks as often
                    answer = await http.post(f"{url}/flow_runs/", json={"flow_id": flow, "state": {"type": "PENDING"}})
                    codes.append(f"{answer.status_code} {answer.text[:80] if answer.is_error else ''}")
                    ended = {"state": {"type": "COMPLETED"}, "force": True}
                    answer = await http.post(f"{url}/flow_runs/{answer.json()['id']}/set_state", json=ended)
                    codes.append(f"{answer.status_code} {answer.text[:80] if answer.is_error else ''}")

            polls = asyncio.gather(*(poll(name) for name in names))
            await asyncio.gather(write(), write(), write())
            written.set()
            await polls
        async with get_client() as client:
            await asyncio.gather(*(client.delete_work_pool(name) for name in names))
        return [code for code in codes if not code.startswith(("200", "201"))]

    assert asyncio.run(main()) == []


def test_open_websockets_do_not_silence_the_server(prefect_lab: Path) -> None:
    """Each station of a campaign holds six; stock Prefect on SQLite answers nobody once 100 are open."""
    from contextlib import AsyncExitStack

    from websockets.asyncio.client import connect

    api = os.environ["PREFECT_API_URL"]

    async def main() -> list[int]:
        async with AsyncExitStack() as stack:
            for _ in range(120):
                await stack.enter_async_context(connect(f"{api.replace('http', 'ws')}/events/in"))
            async with httpx.AsyncClient(timeout=30.0) as client:
                health = await client.get(f"{api}/health")
                pools = await client.post(f"{api}/work_pools/filter", json={})
            return [health.status_code, pools.status_code]

    assert asyncio.run(main()) == [200, 200]


def test_a_database_has_one_lab(prefect_lab: Path, tmp_path: Path) -> None:
    from commands.prefect_owner import claim_database, identity_file

    asyncio.run(claim_database(prefect_lab))
    asyncio.run(claim_database(prefect_lab))
    other = tmp_path / "other"
    refused = (
        f"Prefect's database belongs to the lab {prefect_lab}: with one for two labs, {other} would move its robots. "
        f"Give {other} a database of its own, or take this one over if that lab is gone: docs/postgresql.md"
    )
    with pytest.raises(ServiceError) as error:
        asyncio.run(claim_database(other))
    assert str(error.value) == refused
    identity_file(other).write_text(identity_file(prefect_lab).read_text())
    with pytest.raises(ServiceError, match="Prefect's database belongs to the lab"):
        asyncio.run(claim_database(other))  # a copy
    identity_file(prefect_lab).unlink()
    asyncio.run(claim_database(other))  # the lab has moved
    identity_file(other).rename(identity_file(prefect_lab))
    asyncio.run(claim_database(prefect_lab))  # and back


def test_the_fleet_of_another_lab_is_refused_and_leaves_the_runs_alone(prefect_lab: Path, tmp_path: Path) -> None:
    from prefect.states import Cancelling

    from commands.prefect_owner import claim_database

    asyncio.run(claim_database(prefect_lab))
    run = start("campaign/campaign", out=str(tmp_path / "out"), episodes=200)
    first_line(tmp_path / "out")
    room = tmp_path / "other"
    Lab(room).run_dir.mkdir(parents=True)
    shared = {**os.environ, "PYTHONPATH": str(HERE), "NIGHTLAB_PREFECT_DATABASE_URL": "postgresql://x@/shared"}
    fleet = start_fleet(room, shared, "--cold")
    try:
        assert fleet.wait(90) == 2
        assert (room / "fleet.log").read_text().splitlines()[-1].startswith("Prefect's database belongs to the lab ")
        assert "Traceback" not in (room / "fleet.log").read_text()
        assert state_of(run) == "Running"
    finally:
        fleet.kill()
        fleet.wait()
        with_client(lambda client: client.set_flow_run_state(run, Cancelling()))
        until(lambda: state_of(run) == "Cancelled", "the run ends", 40.0)


@pytest.mark.slow
def test_a_killed_fleet_is_resumed_by_the_next(prefect_lab: Path, tmp_path: Path) -> None:
    """Keep this test last: it replaces the fleet."""
    out, station_out = tmp_path / "out", tmp_path / "station"
    run = start("campaign/campaign", out=str(out), episodes=300)
    child = start("station/robot-1", out=str(station_out), sleep_s=300)
    pid = int(first_line(out)[0])
    first_line(station_out)
    fleet = int((prefect_lab / "fleet.pid").read_text())
    os.kill(fleet, signal.SIGKILL)
    until(
        lambda: not Path(f"/proc/{pid}").exists() or "Z" in Path(f"/proc/{pid}/stat").read_text(), "flows die too", 5.0
    )
    assert state_of(run) == "Running", "nobody was left to say that it ended"
    environment = {**os.environ, "PYTHONPATH": str(HERE)}
    (prefect_lab / "fleet.ready").unlink()
    again = start_fleet(prefect_lab, environment, "--resume")
    try:
        until(lambda: state_of(run) == "Completed", "the campaign is run again", 60.0)
        assert len(out.read_text().split()) == 2
        until(lambda: state_of(child) == "Running", "what a person started is run again as well", 60.0)
    finally:
        again.send_signal(signal.SIGTERM)
        assert again.wait(40) == 0
    assert state_of(child) == "Cancelled", "a fleet that ends in order leaves no run behind"
