"""The lab's real processes: `nightlab up`, kill -9 of each, `nightlab down`."""

import os
import signal
from pathlib import Path

import pytest
from conftest import until

from commands.down import stop_lab
from commands.lab_state import LabState, Phase, ProcessState, read_state
from commands.up import start_lab
from data.lab import Lab, default_config

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def state_of(lab: Lab) -> LabState:
    state = read_state(lab)
    assert state is not None
    return state


def ready_again(lab: Lab, name: str, old: ProcessState) -> bool:
    process = state_of(lab).processes.get(name)
    return process is not None and process.pid != old.pid and process.ready and process.alive


def test_killed_processes_come_back_where_they_were_and_down_leaves_nothing(tmp_path: Path) -> None:
    lab = Lab.create(tmp_path / "lab", default_config())
    other = Lab.create(tmp_path / "other", default_config(stations=1))
    said: list[str] = []
    assert start_lab(lab.path, say=said.append) is False
    try:
        assert {line.split()[0] for line in said} >= {"prefect", "fleet", "keeper", "verifier", "robot-1", "robot-2"}
        assert start_lab(lab.path, say=said.append) is True, "a lab that is up is found, not started again"
        start_lab(other.path, say=said.append)
        first = state_of(lab)
        addresses = {place.address for place in (*first.stations, *state_of(other).stations)}
        assert len(addresses) == 3, "two labs on one machine have ports of their own"
        assert first.ui_url != state_of(other).ui_url
        for name in ("robot-1", "keeper", "verifier", "prefect", "fleet"):
            old = state_of(lab).processes[name]
            os.kill(old.pid, signal.SIGKILL)
            until(lambda name=name, old=old: ready_again(lab, name, old), f"{name} is ready again", 60.0)
        assert state_of(lab).stations == first.stations, "stations come back where clients look for them"
        assert state_of(lab).api_url == first.api_url
        assert state_of(lab).phase is Phase.READY
        assert all(process.restarts == 0 for process in state_of(other).processes.values()), (
            "labs do not touch each other"
        )
    finally:
        processes = [process for each in (lab, other) for process in state_of(each).processes.values()]
        assert stop_lab(lab.path, say=said.append) is True
        assert stop_lab(other.path, say=said.append) is True
    assert not any(process.alive for process in processes), "down leaves no process behind"
    assert state_of(lab).phase is Phase.DOWN
    assert stop_lab(lab.path, say=said.append) is False
