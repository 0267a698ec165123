import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from commands.lab_state import LabState, Phase, ProcessState, write_state
from data.lab import Lab, default_config
from nightlab.processes import start_time
from nightlab.records import StationPlace

os.environ["PREFECT_SERVER_EPHEMERAL_ENABLED"] = (
    "false"  # else Prefect's threads, which outlive the lab's server, start one
)
HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))  # the scripted children and flows lie beside the tests


def until(condition: Callable[[], object], what: str, timeout_s: float = 30.0) -> None:
    """Wait for a condition, or fail and say what did not happen."""
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline_s, f"within {timeout_s:g} s this did not happen: {what}"
        time.sleep(0.02)


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    """A fresh lab with two simulated stations."""
    return Lab.create(tmp_path / "lab", default_config())


def stations_up(lab: Lab, *places: StationPlace) -> None:
    """Write down that the lab is up with these stations; this process stands for its supervisor."""
    me = ProcessState(pid=os.getpid(), started_s=start_time(os.getpid()) or 0.0)
    state = LabState(
        phase=Phase.READY, supervisor=me, api_url="", ui_url="", keeper_socket="", verifier_socket="", stations=places
    )
    write_state(lab, state)


@pytest.fixture(scope="module")
def prefect_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A Prefect server and a fleet of two robots with dummy flows, for all tests of a file."""
    from prefect.context import refresh_global_settings_context

    from commands.environment import adopt, service_environment
    from commands.ports import _free_port

    room = tmp_path_factory.mktemp("prefect-lab")
    Lab(room).write_config(default_config("push_t", 2, "real", 5.0))
    before = dict(os.environ)
    port = _free_port(set())
    environment = service_environment(room, f"http://127.0.0.1:{port}/api") | {"PYTHONPATH": str(HERE)}
    server = _start(room, "server", environment, "commands.prefect_server", "--home", room / "prefect", "--port", port)
    fleet = start_fleet(room, environment)
    adopt(environment)
    refresh_global_settings_context()  # Prefect may have been imported, with its defaults, for another test file
    try:
        until((room / "fleet.ready").exists, f"fleet ready; {(room / 'fleet.log')}", 90.0)
        (room / "fleet.pid").write_text(str(fleet.pid))
        yield room
    finally:
        for process in (fleet, server):
            process.terminate()
            process.wait(30)
        os.environ.clear()
        os.environ.update(
            before, PREFECT_SERVER_EPHEMERAL_ENABLED="false"
        )  # nobody needs a server of Prefect's own now
        refresh_global_settings_context()


def start_fleet(room: Path, environment: dict[str, str], *more: str) -> subprocess.Popen[bytes]:
    """Start a fleet with the dummy flows."""
    return _start(
        room, "fleet", environment, "commands.fleet", "--lab", room, "--robots", "robot-1,robot-2",
        "--station-flows", "dummy_flows.station", "--campaign-flows", "dummy_flows.campaign", *more,
    )  # fmt: skip


def _start(
    room: Path, name: str, environment: dict[str, str], module: str, *arguments: object
) -> subprocess.Popen[bytes]:
    with (room / f"{name}.log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", module, *map(str, arguments), "--ready-file", str(room / f"{name}.ready")],
            env=environment, stdout=log, stderr=log, cwd=HERE.parents[1], start_new_session=True,
        )  # fmt: skip
