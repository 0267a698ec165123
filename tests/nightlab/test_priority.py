import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from nightlab.priority import yield_processor, yield_session

ENABLED = Path("/proc/sys/kernel/sched_autogroup_enabled")
AUTOGROUP = Path("/proc/self/autogroup").exists() and ENABLED.exists() and ENABLED.read_text().strip() == "1"
PARENT = "import subprocess, time; print(subprocess.Popen(['sleep', '60'], start_new_session={}).pid, flush=True); time.sleep(60)"


@pytest.fixture
def started() -> Iterator[list[subprocess.Popen[str]]]:
    processes: list[subprocess.Popen[str]] = []
    yield processes
    for process in processes:
        process.kill()
        process.wait()


def start(started: list[subprocess.Popen[str]], *argv: str, session: bool = True) -> subprocess.Popen[str]:
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, start_new_session=session)
    started.append(process)
    return process


def session_group(pid: int) -> str:
    """Name and nice value of a session; empty in one that is as old as the machine, which belongs to none."""
    return Path(f"/proc/{pid}/autogroup").read_text()


def session_nice(pid: int) -> int:
    return int(session_group(pid).split()[-1])


def nice(pid: int) -> int:
    return os.getpriority(os.PRIO_PROCESS, pid)


def child_of_one_that_yields(started: list[subprocess.Popen[str]], how: str) -> int:
    """The pid of a child in a session of its own."""
    code = f"from nightlab.priority import {how} as how; how(); {PARENT.format(True)}"
    process = start(started, sys.executable, "-c", code)
    assert process.stdout is not None
    return int(process.stdout.readline())


def test_a_session_that_yields_does_not_lower_those_it_starts(started: list[subprocess.Popen[str]]) -> None:
    child = child_of_one_that_yields(started, "yield_session")
    parent = started[-1].pid
    try:
        assert nice(parent) == nice(child) == nice(os.getpid())
        if AUTOGROUP:
            assert (session_nice(parent), session_nice(child)) == (10, 0)
    finally:
        os.kill(child, 9)


def test_a_process_that_yields_takes_its_children_with_it(started: list[subprocess.Popen[str]]) -> None:
    child = child_of_one_that_yields(started, "yield_processor")
    parent = started[-1].pid
    try:
        assert nice(parent) == nice(child) == 10
        if AUTOGROUP:
            assert session_nice(parent) == 10
    finally:
        os.kill(child, 9)


def test_another_process_can_be_made_to_yield(started: list[subprocess.Popen[str]]) -> None:
    process = start(started, "sleep", "60")
    yield_processor(process.pid, nice=5)
    assert nice(process.pid) == 5


def test_who_leads_no_session_lowers_nobody(started: list[subprocess.Popen[str]]) -> None:
    process = start(started, "sleep", "60", session=False)
    before, group = nice(os.getpid()), session_group(os.getpid()) if AUTOGROUP else ""
    yield_processor(process.pid)
    yield_session(process.pid)
    assert nice(process.pid) == nice(os.getpid()) == before
    if AUTOGROUP:
        assert session_group(os.getpid()) == group


def test_a_process_that_is_gone_is_no_error(started: list[subprocess.Popen[str]]) -> None:
    process = start(started, "true")
    deadline_s = time.monotonic() + 10
    while process.poll() is None and time.monotonic() < deadline_s:
        time.sleep(0.01)
    yield_processor(process.pid)
