"""Child processes: they die with their parent, as a group, and are told apart from later ones of the same pid."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable

import pytest

from nightlab.processes import (
    ProcessId,
    alive,
    kill_group,
    spawn,
    spawn_async,
    start_ticks,
    start_time,
    stop,
    stop_async,
)

TREE = "sleep 60 & echo $!; wait"
"""A shell with a child of its own, whose pid it prints."""


def eventually(condition: Callable[[], bool], timeout_s: float = 5.0) -> bool:
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def first_line(process: subprocess.Popen[bytes]) -> int:
    assert process.stdout is not None
    return int(process.stdout.readline())


def test_stop_ends_the_whole_group() -> None:
    process = spawn(["sh", "-c", TREE], stdout=subprocess.PIPE)
    child = first_line(process)
    assert alive(process.pid)
    assert alive(child)
    assert stop(process, 2.0) == -signal.SIGTERM
    assert eventually(lambda: not alive(child))


def test_stop_kills_what_ignores_sigterm() -> None:
    process = spawn(["sh", "-c", "trap '' TERM; echo 1; sleep 60"], stdout=subprocess.PIPE)
    first_line(process)
    begin = time.monotonic()
    assert stop(process, 0.2) == -signal.SIGKILL
    assert time.monotonic() - begin < 3


def test_a_child_dies_with_its_parent() -> None:
    code = (
        "import time; from nightlab.processes import spawn; "
        "print(spawn(['sleep', '60']).pid, flush=True); time.sleep(60)"
    )
    parent = spawn([sys.executable, "-c", code], stdout=subprocess.PIPE)
    child = first_line(parent)
    assert eventually(lambda: alive(child))
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    assert eventually(lambda: not alive(child))


def test_a_child_may_outlive_its_parent_where_asked() -> None:
    code = (
        "from nightlab.processes import spawn; "
        "print(spawn(['sleep', '60'], stdout=-3, die_with_parent=False).pid, flush=True)"
    )
    parent = spawn([sys.executable, "-c", code], stdout=subprocess.PIPE)
    child = first_line(parent)
    parent.wait()
    time.sleep(0.1)
    assert alive(child)
    assert kill_group(child)


def test_alive_knows_a_process_by_its_start() -> None:
    process = spawn(["sleep", "60"])
    started_s = start_time(process.pid)
    assert started_s is not None
    assert abs(started_s - time.time()) < 5
    ticks = start_ticks(process.pid)
    assert ticks is not None
    assert alive(process.pid, ticks)
    assert not alive(process.pid, ticks - 1)
    stop(process)
    assert not alive(process.pid, ticks)
    assert start_time(process.pid) is None
    assert not kill_group(process.pid)


def test_a_program_that_does_not_exist_says_so() -> None:
    process = spawn(["no-such-program"], stderr=subprocess.PIPE)
    _, said = process.communicate()
    assert process.returncode == 126
    assert b"cannot start ['no-such-program']: [Errno 2] No such file" in said


def test_asyncio_children_are_stopped_alike() -> None:
    async def scenario() -> None:
        process = await spawn_async(["sh", "-c", TREE], stdout=subprocess.PIPE)
        assert process.stdout is not None
        child = int(await process.stdout.readline())
        assert await stop_async(process, 2.0) == -signal.SIGTERM
        assert await asyncio.to_thread(eventually, lambda: not alive(child))

    asyncio.run(scenario())


def test_the_group_of_pid_one_is_never_signalled() -> None:
    assert not kill_group(1)
    assert not kill_group(0)


def test_a_process_is_remembered_by_pid_and_start() -> None:
    process = spawn(["sleep", "60"])
    remembered = ProcessId.model_validate_json(ProcessId.of(process.pid).model_dump_json())
    assert remembered.alive
    assert not remembered.model_copy(update={"start_ticks": remembered.start_ticks - 1}).alive
    process.kill()
    assert eventually(lambda: not remembered.alive)  # a zombie already counts as gone
    process.wait()
    with pytest.raises(ProcessLookupError, match=f"no process {process.pid}"):
        ProcessId.of(process.pid)
