import asyncio
import errno
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from conftest import until
from supervised import NAMES, planner

from commands import supervisor as module
from commands.lab_state import LabState, Phase, read_state
from commands.supervisor import Supervisor, lock
from data.lab import Lab
from nightlab.errors import LabError


@asynccontextmanager
async def supervised(lab: Lab, diary: Path, **how: str) -> AsyncIterator[Supervisor]:
    supervisor = Supervisor(lab, planner=planner(diary, **how))
    running = asyncio.create_task(supervisor.run())
    try:
        await wait_for(lambda: supervisor.phase in (Phase.READY, Phase.FAILED))
        yield supervisor
    finally:
        supervisor.stop()
        await running


async def wait_for(condition, timeout_s: float = 15.0) -> None:
    async with asyncio.timeout(timeout_s):
        while not condition():
            await asyncio.sleep(0.02)


def state_of(lab: Lab) -> LabState:
    state = read_state(lab)
    assert state is not None
    return state


def test_starts_all_and_says_where_they_answer(lab: Lab, tmp_path: Path) -> None:
    async def main() -> None:
        async with supervised(lab, tmp_path / "diary"):
            await wait_for(lambda: "recorder" in state_of(lab).processes)
            state = state_of(lab)
            assert state.running
            assert set(state.processes) == {*NAMES, "recorder"}
            assert all(process.alive for process in state.processes.values())
            assert state.stations[0].address == "127.0.0.1:4242", "the station's own ready file says where it answers"
            assert lab.state_path.parent.stat().st_mode & 0o077 == 0, "only the user may read the lab's tokens"

    asyncio.run(main())
    state = state_of(lab)
    assert state.phase is Phase.DOWN
    assert state.processes == {}


def test_stops_the_fleet_first_and_prefect_last(lab: Lab, tmp_path: Path) -> None:
    async def main() -> None:
        async with supervised(lab, tmp_path / "diary"):
            await wait_for(lambda: "recorder started" in (tmp_path / "diary").read_text())

    asyncio.run(main())
    ended = [line.split()[0] for line in (tmp_path / "diary").read_text().splitlines() if line.endswith("ended")]
    assert ended[0] == "fleet", f"flow runs need the stations to release them, so the fleet ends first: {ended}"
    assert ended[-1] == "prefect", f"the others still report to Prefect while they end: {ended}"
    assert set(ended) == {*NAMES, "recorder"}


@pytest.mark.parametrize("name", ["keeper", "fleet"])
def test_restarts_what_is_killed(lab: Lab, tmp_path: Path, name: str) -> None:
    async def main() -> None:
        async with supervised(lab, tmp_path / "diary"):
            first = state_of(lab).processes[name]
            os.kill(first.pid, signal.SIGKILL)
            await wait_for(lambda: (again := state_of(lab).processes[name]).restarts == 1 and again.ready)
            again = state_of(lab).processes[name]
            assert again.pid != first.pid
            assert again.alive
            assert not first.alive

    asyncio.run(main())
    assert ("fleet resumed" in (tmp_path / "diary").read_text()) == (name == "fleet"), "a new fleet resumes, once"


def test_restarts_what_was_stopped(lab: Lab, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async def main() -> None:
        async with supervised(lab, tmp_path / "diary"):
            first = state_of(lab).processes["keeper"]
            os.kill(first.pid, signal.SIGSTOP)
            await wait_for(lambda: (again := state_of(lab).processes["keeper"]).restarts == 1 and again.ready)
            assert not first.alive, "a process that hangs is killed before it is started again"
            others = [process for name, process in state_of(lab).processes.items() if name != "keeper"]
            assert all(process.restarts == 0 for process in others), "and nobody else is"

    asyncio.run(main())
    assert "keeper (pid " in (said := capsys.readouterr().out)
    assert "has made no progress for" in said


def test_gives_up_a_start_that_cannot_succeed(lab: Lab, tmp_path: Path) -> None:
    supervisor = Supervisor(lab, planner=planner(tmp_path / "diary", fail="keeper"))
    assert asyncio.run(supervisor.run()) == 2
    state = state_of(lab)
    assert state.phase is Phase.FAILED
    assert state.error == "keeper did not start (exit 2): the disk is full. Try: nightlab doctor"
    assert state.processes == {}, "a lab that could not start leaves nothing behind"


def unstartable(monkeypatch: pytest.MonkeyPatch, name: str, refusals: int, after: int = 0) -> None:
    """Let the fork of `name` fail so many times, from its nth start on."""
    starts, original = 0, module.spawn_async

    async def spawn(argv, **how):
        nonlocal starts
        if name in argv:
            starts += 1
            if after < starts <= after + refusals:
                raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        return await original(argv, **how)

    monkeypatch.setattr(module, "spawn_async", spawn)


def test_goes_on_when_a_restart_fails_for_want_of_memory(
    lab: Lab, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    unstartable(monkeypatch, "keeper", refusals=2, after=1)

    async def main() -> None:
        async with supervised(lab, tmp_path / "diary"):
            os.kill(state_of(lab).processes["keeper"].pid, signal.SIGKILL)
            await wait_for(lambda: (again := state_of(lab).processes["keeper"]).restarts == 3 and again.ready)

    asyncio.run(main())
    refused = "keeper could not be started: [Errno 11] Resource temporarily unavailable: run/logs/keeper.log"
    assert capsys.readouterr().out.count(refused) == 2


def test_a_start_that_is_refused_for_good_is_said(lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    unstartable(monkeypatch, "keeper", refusals=99)
    assert asyncio.run(Supervisor(lab, planner=planner(tmp_path / "diary")).run()) == 2
    assert state_of(lab).error == (
        "keeper did not start ([Errno 11] Resource temporarily unavailable): it said nothing; see run/logs/keeper.log"
    )


def test_a_log_that_cannot_be_opened_is_said(lab: Lab, tmp_path: Path) -> None:
    (lab.run_dir / "logs" / "keeper.log").mkdir(parents=True)
    assert asyncio.run(Supervisor(lab, planner=planner(tmp_path / "diary")).run()) == 2
    error = state_of(lab).error
    assert error.startswith("keeper did not start ([Errno 21] Is a directory: ")
    assert error.endswith("its log cannot be read: Is a directory; see nightlab doctor")


def test_logs_stay_small_while_they_are_written(lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOG_LIMIT_BYTES", 1000)
    monkeypatch.setattr(module, "ROTATE_S", 0.1)
    logs = lab.run_dir / "logs"

    async def main() -> None:
        async with supervised(lab, tmp_path / "diary"):
            for name in ("keeper", "supervisor"):
                with (logs / f"{name}.log").open("ab", buffering=0) as log:
                    log.write(b"old line\n" * 200)
                    await wait_for(lambda name=name: (logs / f"{name}.log").stat().st_size == 0)
                    log.write(b"new line\n")
                assert (logs / f"{name}.log").read_bytes() == b"new line\n", "written on at the new beginning"
                assert b"old line" in (logs / f"{name}.log.1").read_bytes()

    asyncio.run(main())


def test_kills_what_ignores_the_shutdown(lab: Lab, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async def main() -> int:
        async with supervised(lab, tmp_path / "diary", deaf="robot-1"):
            return state_of(lab).processes["robot-1"].pid

    pid = asyncio.run(main())
    assert "robot-1 did not end within 1 s; killed" in capsys.readouterr().out
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_lab_has_one_supervisor(lab: Lab) -> None:
    with lock(lab), pytest.raises(LabError, match=rf"run by another supervisor already \(pid {os.getpid()}\)"):
        lock(lab)
    with lock(lab):
        pass


def test_children_die_with_a_killed_supervisor(lab: Lab, tmp_path: Path) -> None:
    script = Path(__file__).with_name("supervised.py")
    environment = {**os.environ, "PYTHONPATH": str(script.parents[2])}
    process = subprocess.Popen([sys.executable, script, lab.path, tmp_path / "diary"], env=environment)
    until(lambda: (state := read_state(lab)) is not None and "recorder" in state.processes, "supervisor ready")
    children = state_of(lab).processes.values()
    process.kill()
    process.wait()
    until(lambda: not any(child.alive for child in children), "every child is dead", 5.0)
    assert not state_of(lab).running, "the state file outlives the supervisor but is not believed"
