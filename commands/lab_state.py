"""`run/state.json`: what the supervisor says about a lab's processes, and how every command reads it."""

from __future__ import annotations

import json
import time
from enum import StrEnum
from pathlib import Path

from pydantic import Field

from data.lab import Lab
from nightlab.processes import alive, start_time
from nightlab.records import Record, StationPlace

START_TOLERANCE_S = 0.05


class Phase(StrEnum):
    """How far the lab has come."""

    STARTING = "starting"
    READY = "ready"
    STOPPING = "stopping"
    FAILED = "failed"
    DOWN = "down"


class ProcessState(Record):
    """One process of the lab."""

    pid: int
    started_s: float
    """Start time of the process, seconds since the epoch, by the clock as it was then."""
    start_ticks: int = 0
    """Start time in clock ticks since boot, which no clock moves; with `pid` it names the process for good."""
    ready: bool = False
    restarts: int = 0
    log: str = ""
    """Path relative to the lab."""

    @property
    def alive(self) -> bool:
        """Whether exactly this process runs. A file of an earlier version has no ticks: the start time decides then."""
        if self.start_ticks:
            return alive(self.pid, self.start_ticks)
        started_s = start_time(self.pid)
        return started_s is not None and abs(started_s - self.started_s) < START_TOLERANCE_S


class LabState(Record):
    """The lab's processes, ports and sockets."""

    phase: Phase
    supervisor: ProcessState
    api_url: str
    ui_url: str
    keeper_socket: str
    verifier_socket: str
    stations: tuple[StationPlace, ...]
    processes: dict[str, ProcessState] = Field(default_factory=dict)
    error: str = ""
    written_s: float = 0.0

    @property
    def running(self) -> bool:
        """Whether the supervisor lives and has not given up."""
        return self.supervisor.alive and self.phase in (Phase.STARTING, Phase.READY)


def read_state(lab: Lab) -> LabState | None:
    """The lab's state, or None if it has never run or the file is not of this version."""
    try:
        return LabState.model_validate_json(lab.state_path.read_text())
    except (OSError, ValueError):
        return None


def write_state(lab: Lab, state: LabState) -> None:
    """Replace the state file."""
    stamped = state.model_copy(update={"written_s": time.time()})
    write_whole(lab.state_path, stamped.model_dump_json(indent=2))


def write_whole(path: Path, text: str) -> None:
    """Write a file so that a reader sees all of it or nothing."""
    partial = path.with_name(path.name + ".part")
    partial.write_text(text)
    partial.replace(path)


def read_json(path: Path) -> dict[str, object]:
    """A JSON object from a file; empty if there is none."""
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
