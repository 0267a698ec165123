"""The fleet: one process that serves every work pool of the lab and starts a process per flow run.

`python -m commands.fleet --lab PATH --robots robot-1,robot-2`. At start it makes pools and deployments what they should
be and settles flow runs that an earlier fleet left behind. SIGTERM drains: flow runs are cancelled, given time to
release their robots, then the workers stop. If the fleet is killed, the kernel kills its flow processes; with
`--resume` the next one schedules the interrupted roots again (a campaign, or what a person started), and they go on
from the ledger.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import os
import signal
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import anyio

from commands.environment import PREFETCH_S, PROJECT
from commands.flow_process import WARM_SOCKET
from commands.pools import CAMPAIGN_FLOWS, CAMPAIGN_POOL, STATION_FLOWS
from nightlab.errors import NightlabError
from nightlab.heartbeat import beating
from nightlab.priority import yield_session
from nightlab.processes import spawn_async, stop_async

if TYPE_CHECKING:
    from data.lab import Lab

GRACE_S = 20.0
"""Longest time that cancelled flow runs get to release their robots, wall seconds."""

log = logging.getLogger("nightlab.fleet")


async def run(
    robots: Sequence[str],
    *,
    station_flows: Sequence[str] = STATION_FLOWS,
    campaign_flows: Sequence[str] = CAMPAIGN_FLOWS,
    warm_socket: Path | None = None,
    ready_file: Path | None = None,
    heartbeat_file: Path | None = None,
    hearts: Path | None = None,
    resume: bool = False,
    api_timeout_s: float = 170.0,
    lab: Lab | None = None,
) -> None:
    """Serve the pools of `robots` and `campaign` until SIGTERM or SIGINT.

    Args:
        robots: Names of the robots and of their pools.
        station_flows: Dotted paths of the flows on each robot's pool; default: nightlab's.
        campaign_flows: Dotted paths of the flows on the pool `campaign`; default: nightlab's.
        warm_socket: Where the warm process answers, which makes flow runs start in a second; None = they start cold.
        ready_file: Written once pools, deployments and workers are up.
        heartbeat_file: Touched every second while this process makes progress.
        hearts: Folder with the heartbeats of flow runs and trials; those that fall silent are killed.
        resume: Schedule interrupted roots again, rather than marking them Crashed.
        api_timeout_s: How long to wait for the Prefect server.
        lab: Whose stations are watched for e-stops; None = none are.
    """
    modules = [path.rpartition(".")[0] for path in (*campaign_flows, *station_flows)]
    warm = await start_warm(warm_socket, modules) if warm_socket is not None else None

    from prefect.workers.process import ProcessWorker

    from commands.deployments import ensure, wait_for_api
    from commands.doorbell import ring
    from commands.flow_runs import drain, see_cancelled, settle
    from commands.hearts import see_silent
    from commands.lab_state import write_whole
    from commands.prefect_owner import claim_database, on_postgresql

    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await wait_for_api(api_timeout_s)
    if lab is not None and on_postgresql():
        await claim_database(lab.path)
    config = lab.config if lab is not None else None
    await ensure(robots, station_flows=station_flows, campaign_flows=campaign_flows, config=config)
    await settle(resume=resume)
    os.environ["NIGHTLAB_FLEET_PID"] = str(os.getpid())  # flow processes check that it is still their parent
    pools = [CAMPAIGN_POOL, *robots]
    workers = {
        pool: ProcessWorker(work_pool_name=pool, name=f"fleet {pool}", create_pool_if_not_found=False) for pool in pools
    }
    async with anyio.create_task_group() as group:
        for worker in workers.values():
            group.start_soon(worker.start)
        fetch = {pool: worker.get_and_submit_flow_runs for pool, worker in workers.items()}
        group.start_soon(partial(ring, fetch, prefetch_s=PREFETCH_S))
        group.start_soon(see_cancelled)
        if lab is not None:
            from commands.station_watch import watch

            group.start_soon(watch, lab)
        group.start_soon(beating, heartbeat_file)
        if hearts is not None:
            group.start_soon(see_silent, hearts)
        if ready_file is not None:
            write_whole(ready_file, f"{os.getpid()}\n")
        print(f"fleet serves {', '.join(pools)}", flush=True)
        await stop.wait()
        print("fleet drains", flush=True)
        with contextlib.suppress(Exception):
            left = await drain(grace_s=GRACE_S)
            if left:
                print(f"fleet: {left} flow runs did not end within {GRACE_S:g} s; killed with this process", flush=True)
        asyncio.get_running_loop().call_later(5.0, os._exit, 0)  # workers that do not end must not keep the lab up
        if warm is not None:
            await stop_async(warm, 1.0)
        group.cancel_scope.cancel()


async def start_warm(warm_socket: Path, modules: Sequence[str]) -> asyncio.subprocess.Process:
    """Start the warm process, and tell flow processes where it is. If it ever dies, they start cold."""
    warm_socket.unlink(missing_ok=True)
    os.environ[WARM_SOCKET] = str(warm_socket)
    argv = [sys.executable, "-m", "commands.warm", "--socket", str(warm_socket), "--preload", ",".join(modules)]
    return await spawn_async(argv, cwd=PROJECT)


def main(arguments: list[str] | None = None) -> int:
    """Command line of the module; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m commands.fleet", description=__doc__)
    parser.add_argument("--lab", type=Path, required=True)
    parser.add_argument("--robots", required=True, help="comma-separated names, e.g. robot-1,robot-2")
    parser.add_argument("--api-url", help="default: PREFECT_API_URL")
    parser.add_argument("--cold", action="store_true", help="import Prefect anew for each flow run")
    parser.add_argument("--resume", action="store_true", help="schedule interrupted campaigns again")
    parser.add_argument("--station-flows", default="", help="comma-separated dotted paths instead of nightlab's own")
    parser.add_argument("--campaign-flows", default="", help="the same for the pool `campaign`")
    parser.add_argument("--ready-file", type=Path)
    parser.add_argument("--heartbeat-file", type=Path)
    asked = parser.parse_args(arguments)
    robots, station_flows, campaign_flows = (
        [name for name in text.split(",") if name] for text in (asked.robots, asked.station_flows, asked.campaign_flows)
    )

    from commands.environment import adopt, service_environment
    from data.lab import Lab
    from tasks.heart import hearts_dir

    api_url = asked.api_url or os.environ.get("PREFECT_API_URL", "")
    if not api_url:
        print("the fleet needs --api-url or PREFECT_API_URL; it is normally started by: nightlab up", file=sys.stderr)
        return 2
    yield_session()  # not its nice value, which trials would inherit
    lab = Lab(asked.lab.resolve())
    lab.run_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    adopt(service_environment(asked.lab, api_url))
    try:
        asyncio.run(
            run(
                robots, station_flows=station_flows or STATION_FLOWS, campaign_flows=campaign_flows or CAMPAIGN_FLOWS,
                warm_socket=None if asked.cold else lab.socket("warm.sock"), ready_file=asked.ready_file,
                heartbeat_file=asked.heartbeat_file, hearts=hearts_dir(lab), resume=asked.resume, lab=lab,
            )
        )  # fmt: skip
    except NightlabError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
