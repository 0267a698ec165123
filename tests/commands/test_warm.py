"""The warm process with a scripted engine in place of Prefect's."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import until

from commands.environment import service_environment

PROJECT = Path(__file__).parents[2]
WARM = """
import sys, types
from commands import warm
warm.ENGINE = ()
warm.own_files = lambda: {{warm.Path({watched!r}): warm.Path({watched!r}).stat().st_mtime_ns}}
warm.Job.run = lambda self: ({setup}, exec(self.env["BODY"]))
job = warm.main(["--socket", {socket!r}])
if job is not None:
    job.run()
"""
SETUP = "[warm.os.dup2(source, target) for target, source in enumerate(self.streams)]"


@pytest.fixture
def warm(tmp_path: Path) -> Iterator[Path]:
    """A warm process; the tests' flow runs are Python texts in the variable BODY."""
    socket, watched = tmp_path / "warm.sock", tmp_path / "flow.py"
    watched.write_text("")
    text = WARM.format(watched=str(watched), socket=str(socket), setup=SETUP)
    process = subprocess.Popen([sys.executable, "-c", text], cwd=PROJECT)
    until(socket.exists, "the warm process listens")
    yield socket
    process.terminate()
    assert process.wait(5) == 0


def start(socket: Path, body: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "NIGHTLAB_WARM_SOCKET": str(socket), "BODY": body, "PREFECT__FLOW_RUN_ID": ""}
    environment["NIGHTLAB_FLEET_PID"] = str(os.getpid())
    return subprocess.Popen(
        [sys.executable, "-m", "commands.flow_process"], env=environment, cwd=PROJECT, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip


@pytest.mark.parametrize("code", [0, 3])
def test_output_and_exit_status_come_back(warm: Path, code: int) -> None:
    process = start(
        warm,
        f"print('hello from', os.getppid() != {os.getpid()}); sys.exit({code})".replace("os.", "__import__('os')."),
    )
    assert process.communicate(timeout=10)[0] == "hello from True\n"
    assert process.returncode == code


def test_a_signal_is_passed_on(warm: Path) -> None:
    body = (
        "import signal, time\nsignal.signal(signal.SIGTERM, lambda *_: (print('released', flush=True), sys.exit(7)))\n"
        "print('moving', flush=True)\ntime.sleep(60)"
    )
    process = start(warm, body)
    assert process.stdout is not None
    assert process.stdout.readline() == "moving\n"
    process.terminate()
    assert process.communicate(timeout=10)[0] == "released\n"
    assert process.returncode == 7


@pytest.mark.parametrize("killed", ["flow", "client"])
def test_a_killed_side_takes_the_other_with_it(warm: Path, killed: str) -> None:
    process = start(warm, "import os, time\nprint(os.getpid(), flush=True)\ntime.sleep(60)")
    assert process.stdout is not None
    flow = int(process.stdout.readline())
    os.kill(flow if killed == "flow" else process.pid, signal.SIGKILL)
    assert process.wait(10) == -signal.SIGKILL
    until(lambda: not Path(f"/proc/{flow}").exists(), "the flow's process is gone", 5.0)


def test_an_edited_file_is_never_run_from_memory(warm: Path, tmp_path: Path) -> None:
    (tmp_path / "flow.py").write_text("# mended")
    process = start(warm, "print('from memory')")
    out = process.communicate(timeout=60)[0]
    assert "from memory" not in out
    assert "Invalid flow run id" in out, "Prefect's engine was started in the flow's own process"


def test_a_start_is_quick(warm: Path) -> None:
    begin_s = time.monotonic()
    start(warm, "pass").communicate(timeout=10)
    print(f"{time.monotonic() - begin_s:.2f} s")
    assert time.monotonic() - begin_s < 5.0


def test_without_a_warm_process_it_starts_cold(tmp_path: Path) -> None:
    process = start(tmp_path / "nobody.sock", "print('from memory')")
    assert "Invalid flow run id" in process.communicate(timeout=60)[0]


def test_what_is_preloaded_exists_and_starts_no_thread(tmp_path: Path) -> None:
    """Forking a process with threads is not safe."""
    code = (
        "import os, sys; from commands.warm import preload; preload(['flows.station', 'flows.campaign']); "
        "print(len(os.listdir('/proc/self/task')), 'prefect.task_engine' in sys.modules)"
    )
    environment = service_environment(tmp_path, "http://127.0.0.1:1/api") | {"PYTHONPATH": str(PROJECT)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)
    assert done.stdout.strip() == "1 True"
    assert "cannot import" not in done.stderr
