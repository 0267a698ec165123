"""Work pools and deployments of a lab: a pool per robot plus `campaign`, and every flow as a form in the Prefect UI.

| deployment | pool | flow |
|---|---|---|
| `campaign/campaign` | `campaign` | `flows.campaign.campaign` |
| `station/robot-i` | `robot-i` | `flows.station.station` |
| `iteration/robot-i` | `robot-i` | `flows.iteration.iteration` |
| `replay/robot-i` | `robot-i` | `flows.replay.replay` |
"""

from __future__ import annotations

import asyncio
import importlib
import shlex
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any, cast
from uuid import UUID

from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate, WorkPoolUpdate
from prefect.client.schemas.objects import StateType
from prefect.events.actions import ChangeFlowRunState
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
from prefect.events.schemas.events import ResourceSpecification
from prefect.exceptions import ObjectAlreadyExists
from prefect.flows import Flow
from prefect.utilities.callables import parameter_schema
from prefect.workers.process import ProcessWorker

from commands.environment import HEARTBEAT_S, PROJECT
from commands.pools import CAMPAIGN_FLOWS, CAMPAIGN_POOL, STATION_FLOWS
from commands.prefect_api import start_run as start_run
from commands.station_speed import campaign_speed
from nightlab.cards import card
from nightlab.errors import ServiceError
from nightlab.records import CampaignSpec, LabConfig

POOL_LIMIT = 8
"""Concurrent flow runs of a pool: a station run, plus what a person starts from the UI. The lease keeps the order."""
ZOMBIE_S = 3 * HEARTBEAT_S
"""A running flow run that sends no heartbeat for so long is set to Crashed, seconds."""

Parameters = Callable[[str, str], dict[str, Any]]


def flow_command() -> str:
    """The command that a worker starts for each flow run (see `commands/flow_process.py`)."""
    return shlex.join([sys.executable, "-m", "commands.flow_process"])


async def ensure(
    robots: Sequence[str],
    *,
    station_flows: Sequence[str] = STATION_FLOWS,
    campaign_flows: Sequence[str] = CAMPAIGN_FLOWS,
    command: str | None = None,
    config: LabConfig | None = None,
) -> dict[str, UUID]:
    """Create or update every pool and deployment of the lab. Idempotent; concurrent.

    Args:
        robots: Names of the robots, `robot-1`, …; also of their pools.
        station_flows: Dotted paths of the flows that every robot gets.
        campaign_flows: Dotted paths of the flows on the pool `campaign`.
        command: What workers start for a flow run; default `flow_command()`.
        config: The lab's; the form of a campaign is filled in with its environment, stations, profile and speed.

    Returns:
        Deployment ids by `flow/deployment`, e.g. `station/robot-1`.

    Raises:
        ServiceError: if a flow's module cannot be imported or holds no such flow.
    """
    flows = {path: load(path) for path in (*campaign_flows, *station_flows)}
    template = job_template(command or flow_command())
    form = campaign_form(config, await campaign_speed(config.stations)) if config is not None else {}
    async with get_client() as client:
        ids = dict(
            zip(
                flows,
                await asyncio.gather(*(client.create_flow_from_name(flow.name) for flow in flows.values())),
                strict=True,
            )
        )
        await asyncio.gather(*(ensure_pool(client, pool, template) for pool in (CAMPAIGN_POOL, *robots)))
        wanted = [(path, CAMPAIGN_POOL, flows[path].name) for path in campaign_flows]
        wanted += [(path, robot, robot) for path in station_flows for robot in robots]
        made = await asyncio.gather(
            *(
                deploy(client, flows[path], ids[path], path, pool, name, {"station": pool, **form})
                for path, pool, name in wanted
            )
        )
        await ensure_zombie_automation(client)
    return dict(zip((f"{flows[path].name}/{name}" for path, _, name in wanted), made, strict=True))


def load(path: str) -> Flow[..., Any]:
    """Import the flow at a dotted path such as `flows.station.station`.

    Raises:
        ServiceError: if there is no such module or flow.
    """
    module, _, name = path.rpartition(".")
    try:
        flow = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise ServiceError(f"cannot load the flow {path}: {error}. See: nightlab doctor") from error
    if not isinstance(flow, Flow):
        raise ServiceError(f"{path} is a {type(flow).__name__}, not a Prefect flow; put @flow on it")
    return cast("Flow[..., Any]", flow)


def job_template(command: str) -> dict[str, Any]:
    """Prefect's job template for process pools, with our command and working directory as defaults."""
    template = ProcessWorker.get_default_base_job_template()
    variables = template["variables"]["properties"]
    variables["command"]["default"] = command
    variables["working_dir"]["default"] = str(PROJECT)
    variables["stream_output"]["default"] = True
    return template


async def ensure_pool(client: PrefectClient, name: str, template: Mapping[str, Any]) -> None:
    """Create the pool, or bring an existing one to the same settings."""
    try:
        await client.create_work_pool(
            WorkPoolCreate(
                name=name, type="process", base_job_template=dict(template), concurrency_limit=POOL_LIMIT,
                description="Campaigns of this lab" if name == CAMPAIGN_POOL else f"Everything that runs on {name}",
            )
        )  # fmt: skip
    except ObjectAlreadyExists:
        await client.update_work_pool(
            name, WorkPoolUpdate(base_job_template=dict(template), concurrency_limit=POOL_LIMIT, is_paused=False)
        )


def campaign_form(config: LabConfig, speed: float) -> dict[str, Any]:
    """What the form of a new campaign is filled in with: what this lab's environment and stations are."""
    first = config.stations[0]
    spec = CampaignSpec(
        environment=config.environment, stations=len(config.stations), profile=first.profile, speed=speed,
        held_out_n=card(config.environment).held_out_n,
    )  # fmt: skip
    return {"spec": spec.model_dump(mode="json", exclude_none=True)}


async def deploy(
    client: PrefectClient,
    flow: Flow[..., Any],
    flow_id: UUID,
    path: str,
    pool: str,
    name: str,
    known: Mapping[str, Any],
) -> UUID:
    """Create or update one deployment, its form filled in with what is `known`; keeps schedules that a person added."""
    schema = parameter_schema(flow).model_dump_for_openapi()
    defaults = {key: value for key, value in known.items() if key in schema.get("properties", {})}
    return await client.create_deployment(
        flow_id=flow_id,
        name=name,
        description=flow.description,
        entrypoint=path,
        path=str(PROJECT),
        work_pool_name=pool,
        parameters=defaults,
        parameter_openapi_schema=schema,
        enforce_parameter_schema=True,
        tags=["nightlab", pool],
    )


async def ensure_zombie_automation(client: PrefectClient) -> None:
    """Set a running flow run without a heartbeat for `ZOMBIE_S` to Crashed: process and worker are both gone."""
    name = "nightlab: flow runs whose process is gone"
    for found in await client.read_automations_by_name(name):
        if isinstance(found.trigger, EventTrigger) and found.trigger.within == timedelta(seconds=ZOMBIE_S):
            return
        await client.delete_automation(found.id)  # of a lab from the time when heartbeats came more often
    ends = {f"prefect.flow-run.{state}" for state in ("Completed", "Failed", "Cancelled", "Crashed")}
    message = f"no heartbeat for {ZOMBIE_S} s"
    crash = ChangeFlowRunState(name="Crashed", state=StateType.CRASHED, message=message, force=False)
    await client.create_automation(
        AutomationCore(
            name=name,
            description=f"No heartbeat for {ZOMBIE_S} s: neither the flow's process nor its worker is left to report.",
            trigger=EventTrigger(
                after={"prefect.flow-run.heartbeat"},
                expect={"prefect.flow-run.heartbeat", *ends},
                match=ResourceSpecification({"prefect.resource.id": ["prefect.flow-run.*"]}),
                for_each={"prefect.resource.id"},
                posture=Posture.Proactive,
                threshold=1,
                within=timedelta(seconds=ZOMBIE_S),
            ),
            actions=[crash],
        )
    )


async def wait_for_api(timeout_s: float, *, poll_s: float = 0.1) -> None:
    """Wait until the Prefect server answers.

    Raises:
        ServiceError: if it does not within `timeout_s`.
    """
    loop = asyncio.get_running_loop()
    deadline_s = loop.time() + timeout_s
    probe: Callable[[], Awaitable[Exception | None]]
    async with get_client() as client:
        probe = client.api_healthcheck
        while (error := await probe()) is not None:
            if loop.time() > deadline_s:
                raise ServiceError(
                    f"the Prefect server at {client.api_url} does not answer within {timeout_s:g} s ({error}). "
                    "Look into run/logs/prefect.log of the lab, then: nightlab down && nightlab up"
                )
            await asyncio.sleep(poll_s)
