"""The server as a process of its own: start, refuse to start, die, hang, come back."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from nightlab.errors import LeaseError, StationError, UsageError
from nightlab.records import StationPlace
from robots.admin import AdminClient
from robots.client import StationClient
from robots.profiles import load_profile
from robots.worlds import make_world
from robots.worlds.push_t import START

LIMITS = make_world("push_t", load_profile("nominal"), 0).spec("", 1).limits
ROOT = Path(__file__).resolve().parents[2]
STILL = {"target_xy": np.array([256.0, 390.0])}


def command(directory: Path, *more: str) -> list[str]:
    return [
        *(sys.executable, "-m", "robots.serve", "--station", "robot-1", "--die-with-parent"),
        *("--admin-socket", str(directory / "admin.sock"), "--ready-file", str(directory / "ready.json")),
        *more,
    ]


@contextmanager
def server(directory: Path, *more: str) -> Iterator[tuple[subprocess.Popen[bytes], StationPlace]]:
    ready = directory / "ready.json"
    ready.unlink(missing_ok=True)
    process = subprocess.Popen(command(directory, *more), cwd=ROOT, stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 30
        while not ready.exists():
            assert process.poll() is None, "the server ended"
            assert time.monotonic() < deadline, "the server did not get ready"
            time.sleep(0.02)
        yield process, StationPlace.model_validate_json(ready.read_text())
    finally:
        process.kill()
        process.wait()


def refused(directory: Path, *more: str) -> str:
    done = subprocess.run(command(directory, *more), cwd=ROOT, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 2
    lines = [line for line in done.stderr.splitlines() if line]
    assert len(lines) == 1, done.stderr
    return lines[0]


def test_ready_file_health_secrets_and_a_graceful_end(tmp_path: Path) -> None:
    beat = tmp_path / "beat"
    with server(tmp_path, "--heartbeat-file", str(beat), "--station-seed", "11") as (process, place):
        assert (place.station, place.station_seed) == ("robot-1", 11)
        token = tmp_path / "admin.sock.token"
        assert stat.S_IMODE(token.stat().st_mode) == 0o600
        assert stat.S_IMODE((tmp_path / "admin.sock").stat().st_mode) == 0o700
        with grpc.insecure_channel(place.address) as channel:
            health = health_pb2_grpc.HealthStub(channel)
            reply = health.Check(health_pb2.HealthCheckRequest(service="nightlab.v1.Station"), timeout=5)
            assert reply.status == health_pb2.HealthCheckResponse.SERVING

        async def use() -> None:
            admin = await AdminClient.connect(place.admin_socket or "")
            await admin.teleport(START, 5)
            assert set(await admin.truth()) >= {*START, "coverage"}
            with pytest.raises(StationError, match="a start needs finite numbers for agent_x_px"):
                await admin.teleport({"x": 1.0}, 5)
            with pytest.raises(UsageError, match="unknown profile 'nonsense'"):
                await admin.configure("nonsense")
            station = await StationClient.connect(place.address)
            assert (await station.describe()).profile == "nominal"
            await admin.configure("hard", 3)
            assert (await station.describe()).profile == "hard"
            token.write_text("0" * 64)
            with pytest.raises(StationError, match="wrong or missing token"):
                await AdminClient.connect(place.admin_socket or "")
            await station.close()
            await admin.close()

        asyncio.run(use())
        deadline = time.monotonic() + 5
        while not beat.exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        assert time.time() - beat.stat().st_mtime < 5
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
        assert not token.exists()


def test_a_taken_port_or_socket_is_one_clear_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        line = refused(tmp_path, "--address", f"127.0.0.1:{port}")
        assert line.startswith(f"station robot-1: the station cannot listen on 127.0.0.1:{port}: taken by another")
    assert "unknown profile 'mild'" in refused(tmp_path, "--profile", "mild")
    assert "unknown world 'moon'" in refused(tmp_path, "--world", "moon")
    assert "--speed 'fast': a number from 0 to 1000, or max" in refused(tmp_path, "--speed", "fast")


def test_a_second_server_on_the_same_socket_is_refused(tmp_path: Path) -> None:
    address = f"unix:{tmp_path}/station.sock"
    with server(tmp_path, "--address", address):
        assert "a station listens on" in refused(tmp_path, "--address", address)
    with server(tmp_path, "--address", address) as (_, place):  # what a killed server left is no obstacle
        assert place.address == address


def test_a_killed_server_is_an_error_within_a_second_and_a_restarted_one_answers(tmp_path: Path) -> None:
    async def run() -> None:
        with server(tmp_path) as (process, place):
            station = await StationClient.connect(place.address)
            lease = await station.lease("t", LIMITS)
            async with station.control(lease) as session:
                await session.step([STILL])
                process.kill()
                process.wait()
                begin = time.monotonic()
                with pytest.raises(StationError, match=f"no station answers at {place.address}; it was killed"):
                    await session.step([STILL])
            assert time.monotonic() - begin < 1.0
            for call in (station.observe, station.clock, lambda: station.capture("top"), lambda: station.home(lease)):
                begin = time.monotonic()
                with pytest.raises(StationError, match="no station answers"):
                    await call()
                assert time.monotonic() - begin < 1.5
            with pytest.raises(StationError, match="lease: no station answers"):
                await station.lease("t", LIMITS)
        with server(tmp_path, "--address", place.address):
            deadline = time.monotonic() + 5
            while True:
                try:
                    await station.observe()
                    break
                except StationError:
                    assert time.monotonic() < deadline, "the client did not find the restarted server"
                    await asyncio.sleep(0.1)
            with pytest.raises(LeaseError, match="or the station was restarted"):
                async with station.control(lease):
                    pass
            await station.close()

    asyncio.run(run())


def test_a_frozen_server_is_an_error_within_the_deadline(tmp_path: Path) -> None:
    async def run() -> None:
        with server(tmp_path) as (process, place):
            station = await StationClient.connect(place.address)
            lease = await station.lease("t", LIMITS)
            try:
                begin = time.monotonic()
                async with station.control(lease) as session:
                    await session.step([STILL])
                    process.send_signal(signal.SIGSTOP)
                    with pytest.raises(StationError, match=r"step: the station at .* did not answer within 5"):
                        await session.step([STILL])
                assert time.monotonic() - begin < 7.0
            finally:
                process.send_signal(signal.SIGCONT)
            await station.close()

    asyncio.run(run())


CLIENT = """
import asyncio, sys, numpy as np
from nightlab.records import LimitsSpec
from robots.client import StationClient
async def main():
    station = await StationClient.connect(sys.argv[1])
    lease = await station.lease("doomed", (await station.describe()).limits, ttl_s=1.0)
    async with station.control(lease, "doomed") as session:
        await session.hold()
        print("moving", flush=True)
        await session.step([{"target_xy": np.array([256.0, 400.0])}] * 64)
asyncio.run(main())
"""


def test_a_killed_client_stops_the_robot_at_once_and_frees_it_after_the_ttl(tmp_path: Path) -> None:
    async def run() -> None:
        with server(tmp_path, "--speed", "1") as (_, place):
            environment = {**os.environ, "PYTHONPATH": str(ROOT)}
            client = subprocess.Popen(
                [sys.executable, "-c", CLIENT, place.address], env=environment, cwd=ROOT, stdout=subprocess.PIPE
            )
            assert client.stdout is not None
            assert client.stdout.readline() == b"moving\n"
            station = await StationClient.connect(place.address)
            await asyncio.sleep(0.3)
            client.kill()
            client.wait()
            client.stdout.close()
            await asyncio.sleep(0.3)
            stopped = await station.stats()
            assert (stopped.label, stopped.lease_holder) == ("", "doomed")
            assert stopped.seq < 20, "not to the end of its chunk"
            begin = time.monotonic()
            lease = await station.lease("next", LIMITS)
            assert time.monotonic() - begin < 2.0
            async with station.control(lease) as session:
                await session.hold()
            await station.close()

    asyncio.run(run())


def test_nobody_there(tmp_path: Path) -> None:
    async def run() -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        with pytest.raises(StationError, match=f"describe: no station answers at 127.0.0.1:{port}.*nightlab status"):
            await StationClient.connect(f"127.0.0.1:{port}")
        with pytest.raises(StationError, match=r"no admin token at .*admin.sock.token"):
            await AdminClient.connect(tmp_path / "admin.sock")

    asyncio.run(run())


def test_the_server_dies_with_its_parent(tmp_path: Path) -> None:
    script = (
        "import json, subprocess, sys\n"
        "print(subprocess.Popen(json.loads(sys.argv[1]), stdout=subprocess.DEVNULL).pid, flush=True)\n"
        "sys.stdin.read()\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", script, json.dumps(command(tmp_path))],
        cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    assert parent.stdout is not None
    assert parent.stdin is not None
    child = int(parent.stdout.readline())
    deadline = time.monotonic() + 30
    while not (tmp_path / "ready.json").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    parent.stdin.close()
    deadline = time.monotonic() + 10
    status = Path(f"/proc/{child}/status")
    while status.exists() and "State:\tZ" not in status.read_text():
        assert time.monotonic() < deadline, "it outlived its parent"
        time.sleep(0.05)
