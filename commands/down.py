"""`nightlab down`: stop a lab's processes in order, and make sure that none is left."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

PATIENCE_S = 75.0
"""Longest wait for the ordered shutdown, wall seconds; then everything is killed."""


def down(lab: Annotated[Path, typer.Option(help="Lab directory")] = Path("lab")) -> None:
    """Stop every process of the lab. Running campaigns can be continued with `nightlab run`."""
    stopped = stop_lab(lab, say=typer.echo)
    typer.echo(f"the lab {lab} is down" if stopped else f"the lab {lab} was not up")


def stop_lab(lab: Path, *, say: Callable[[str], object] = print, patience_s: float = PATIENCE_S) -> bool:
    """Stop the lab: flow runs are cancelled and release their robots, then all processes end.

    Args:
        lab: The lab directory.
        say: Gets a line about what is waited for.
        patience_s: Longest wait before the processes are killed, wall seconds.

    Returns:
        True if there was anything to stop.
    """
    from commands.lab_state import read_state
    from data.lab import Lab
    from nightlab.processes import kill_group

    state = read_state(Lab.open(lab))
    if state is None:
        return False
    before = [process for process in state.processes.values() if process.alive]
    supervised = state.supervisor.alive
    if supervised:
        say("stopping: flow runs first, then stations, keeper and Prefect …")
        os.kill(state.supervisor.pid, signal.SIGTERM)
        deadline_s = time.monotonic() + patience_s
        while state.supervisor.alive and time.monotonic() < deadline_s:
            _reap(state.supervisor.pid)
            time.sleep(0.05)
        if state.supervisor.alive:
            say(f"the supervisor did not end within {patience_s:g} s; killing it and its processes")
            kill_group(state.supervisor.pid)
    left = read_state(Lab.open(lab)) or state
    for process in (*before, *left.processes.values()):
        if process.alive:
            kill_group(process.pid)
    return supervised or bool(before)


def _reap(pid: int) -> None:
    """Collect the supervisor if it is this process's own child, so that it does not stay as a zombie."""
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return
