"""`nightlab up`: start a lab's processes in the background, or find them running."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from nightlab.errors import LabError, ServiceError

START_S = 120.0
"""Longest wait for the processes, wall seconds; the first start of a lab makes Prefect's database."""


def up(
    lab: Annotated[Path, typer.Option(help="Lab directory; made if there is none")] = Path("lab"),
    stations: Annotated[int, typer.Option(help="Simulated stations of a new lab")] = 2,
    environment: Annotated[str, typer.Option(help="Environment of a new lab")] = "push_t",
    profile: Annotated[str, typer.Option(help="Profile of a new lab's stations")] = "nominal",
    speed: Annotated[
        str, typer.Option(help="Speed of a new lab's stations, times real time, or max; default by environment")
    ] = "",
) -> None:
    """Start the lab's processes and print the address of the Prefect UI."""
    from commands.lab_state import read_state
    from data.lab import Lab, default_config

    if not Lab.exists(lab):
        from commands.run import read_speed
        from environments import make, world
        from robots.profiles import load_profile

        make(environment)
        load_profile(profile, world(environment))
        Lab.create(
            lab,
            default_config(environment, stations, profile, read_speed(speed, environment), world=world(environment)),
        )
    was_running = start_lab(lab, say=typer.echo)
    state = read_state(Lab.open(lab))
    assert state is not None
    typer.echo(f"{'the lab is already up' if was_running else 'the lab is up'}; Prefect UI: {state.ui_url}")
    typer.echo(f"stop it with: nightlab down --lab {lab}")


def start_lab(lab: Path, *, say: Callable[[str], object] = print, timeout_s: float = START_S) -> bool:
    """Start the lab's supervisor in the background and wait until every process is ready.

    Args:
        lab: The lab directory; must exist.
        say: Gets a line for each process that becomes ready.
        timeout_s: Longest wait, wall seconds.

    Returns:
        True if the lab was running already.

    Raises:
        LabError: if there is no lab, or it is broken.
        ServiceError: if a process does not start; the lab is down again then.
    """
    from commands.down import stop_lab
    from commands.lab_state import Phase, read_state
    from data.lab import Lab

    opened = Lab.open(lab)
    state = read_state(opened)
    if state is not None and state.supervisor.alive and state.phase is Phase.STOPPING:
        stop_lab(lab, say=say)
        state = read_state(opened)
    was_running = state is not None and state.running
    process = None if was_running else _start_supervisor(opened)
    begin_s = time.monotonic()
    told: set[str] = set()
    while time.monotonic() - begin_s < timeout_s:
        state = read_state(opened)
        if state is not None and (process is None or state.supervisor.pid == process.pid):
            for name, child in state.processes.items():
                if child.ready and name not in told and not was_running:
                    told.add(name)
                    say(f"{name:<10} ready after {time.monotonic() - begin_s:4.1f} s")
            if state.phase is Phase.READY:
                return was_running
            if state.phase is Phase.FAILED:
                raise ServiceError(f"the lab {lab} could not be started: {state.error}. See {opened.run_dir / 'logs'}")
        if process is not None and process.poll() is not None:
            words = (opened.run_dir / "logs" / "supervisor.log").read_text(errors="replace").strip().splitlines()
            raise LabError(words[-1] if words else f"the supervisor of {lab} ended ({process.returncode})")
        if process is None and state is not None and not state.supervisor.alive:
            raise ServiceError(f"the supervisor of {lab} died while it started. Try again: nightlab up --lab {lab}")
        time.sleep(0.05)
    missing = [name for name, child in (state.processes if state else {}).items() if not child.ready]
    stop_lab(lab, say=say)
    raise ServiceError(
        f"not ready within {timeout_s:g} s: {', '.join(missing) or 'supervisor'}. See {opened.run_dir / 'logs'}, and: "
        "nightlab doctor"
    )


def _start_supervisor(lab: object) -> subprocess.Popen[bytes]:
    from commands.environment import PROJECT
    from data.lab import Lab

    assert isinstance(lab, Lab)
    logs = lab.run_dir / "logs"
    logs.mkdir(exist_ok=True)
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    with (logs / "supervisor.log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "commands.supervisor", "--lab", str(lab.path)],
            cwd=PROJECT, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
            start_new_session=True,
        )  # fmt: skip
