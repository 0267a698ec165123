"""Processes in the state file are known by what no clock moves."""

from __future__ import annotations

import os

import psutil
import pytest

from commands.lab_state import ProcessState
from nightlab.processes import spawn, start_ticks, start_time, stop


def test_a_clock_that_was_set_makes_no_process_dead(monkeypatch: pytest.MonkeyPatch) -> None:
    process = spawn(["sleep", "60"])
    try:
        started_s = start_time(process.pid)
        assert started_s is not None
        noted = ProcessState(pid=process.pid, started_s=started_s, start_ticks=start_ticks(process.pid) or 0)
        monkeypatch.setattr(psutil.Process, "create_time", lambda _: started_s + 3.0)
        assert noted.alive, "the clock was set by 3 s after the file was written"
        assert not noted.model_copy(update={"start_ticks": noted.start_ticks - 1}).alive, "a later one of the same pid"
    finally:
        stop(process)
    assert not noted.alive


def test_a_file_of_an_earlier_version_is_read_and_names_nobody_else() -> None:
    started_s = start_time(os.getpid())
    old = ProcessState.model_validate({"pid": os.getpid(), "started_s": started_s, "ready": True})
    assert old.alive
    assert not old.model_copy(update={"started_s": old.started_s - 60}).alive
