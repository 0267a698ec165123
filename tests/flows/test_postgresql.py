"""The demo campaign with Prefect on a real PostgreSQL server that this test starts as a user without rights."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from commands.down import stop_lab
from commands.up import start_lab
from data.lab import Lab
from nightlab.records import LabConfig, StationConfig
from tests.flows.conftest import nightlab

pytestmark = [pytest.mark.slow, pytest.mark.timeout(2000)]


def binaries() -> Path | None:
    """Where Debian's package keeps initdb and postgres."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    path = str(found[-1]) if found else shutil.which("initdb")
    return Path(path).resolve().parent if path else None


@pytest.fixture
def database() -> Iterator[str]:
    """URL of an empty database `prefect` on a Unix socket; the server runs as `postgres`, or as whoever runs the test."""
    folder = binaries()
    if folder is None:
        pytest.skip("no PostgreSQL here; install it with: apt-get install postgresql")
    user = "postgres" if os.getuid() == 0 else pwd.getpwuid(os.getuid()).pw_name
    as_user = ["runuser", "-u", user, "--"] if os.getuid() == 0 else []
    room = Path(tempfile.mkdtemp(prefix="nightlab-pg-", dir="/tmp"))
    shutil.chown(room, user)

    def run(*words: object) -> None:
        done = subprocess.run([*as_user, *map(str, words)], capture_output=True, text=True, cwd="/", check=False)
        assert done.returncode == 0, f"{words}: {done.stdout[-500:]} {done.stderr[-1500:]}"

    data = room / "data"
    run(folder / "initdb", "-D", data, "-A", "trust", "-U", "nightlab", "--no-sync")
    options = f"-c listen_addresses='' -c unix_socket_directories={room} -c fsync=off"
    run(folder / "pg_ctl", "-D", data, "-w", "-l", room / "log", "-o", options, "start")
    try:
        run(folder / "createdb", "-h", room, "-U", "nightlab", "prefect")
        yield f"postgresql://nightlab@/prefect?host={room}"
    finally:
        run(folder / "pg_ctl", "-D", data, "-m", "immediate", "stop")
        shutil.rmtree(room, ignore_errors=True)


def flow_runs(url: str) -> int:
    """Flow runs that the database knows."""
    host = url.rpartition("host=")[2]
    words = ["psql", "-h", host, "-U", "nightlab", "-tA", "-c", "select count(*) from flow_run", "prefect"]
    return int(subprocess.run(words, capture_output=True, text=True, check=True).stdout)


def test_the_demo_campaign_runs_on_postgresql(database: str, tmp_path: Path) -> None:
    path = tmp_path / "lab"
    stations = tuple(StationConfig(station=f"robot-{number}", speed=15.0, station_seed=number) for number in (1, 2))
    Lab.create(path, LabConfig(environment="push_t", stations=stations, prefect_database_url=database))
    start_lab(path, say=lambda _: None, timeout_s=400.0)  # the tables are made now
    try:
        done = nightlab(
            "run", "push_t", "--stations", 2, "--researcher", "offline", "--profile", "nominal", "--speed", 15,
            "--budget", "13m", "--lab", path, "--json", timeout_s=1300.0,
        )  # fmt: skip
        runs = flow_runs(database)
    finally:
        stop_lab(path, say=lambda _: None)
    report = json.loads(done.stdout.strip().splitlines()[-1])
    print(json.dumps({key: report[key] for key in ("solved", "held_out", "episodes", "kept", "mru")}))
    assert report["episodes"] >= 300, done.stderr[-3000:]
    assert report["kept"] >= 1
    assert report["held_out"]["n"] >= 20, "the end of the demo, too"
    assert runs >= report["kept"] + 3, (
        "the flow runs are in PostgreSQL: the campaign's, its stations', their iterations'"
    )
    assert not (path / "prefect" / "prefect.db").exists(), "and no SQLite database was made beside it"
    log = (path / "run" / "logs" / "prefect.log").read_text()
    assert "Traceback" not in log, log[-3000:]
