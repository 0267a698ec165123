"""Two hosts on one machine: a station server in a network namespace of its own, the lab in the other one, mutual TLS
between them, and the link cut and restored in the middle of a rollout. Needs root and `ip`."""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from benchmarks.chaos_lab import PROJECT, RESEARCHER, ChaosLab, audit
from commands.down import stop_lab
from commands.up import start_lab
from data.lab import Lab
from data.ledger import LedgerReader
from nightlab.errors import StationError
from nightlab.records import LabConfig, StationConfig
from robots.client import StationClient
from robots.keys import make_keys

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

THERE = "bench-2"
"""Name of the station on the other host: whatever lab.yaml says."""
CUT_S = 12.0
"""Longer than the lease's TTL and than the client's patience: the station must go home by itself."""


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)


@dataclass
class Hosts:
    """The other host's namespace and the link to it."""

    namespace: str
    ours: str
    theirs: str
    address: str

    def link(self, state: str) -> None:
        """`down`: the cable is pulled at the other end."""
        ip("-n", self.namespace, "link", "set", self.theirs, state)


@pytest.fixture
def hosts() -> Iterator[Hosts]:
    if os.getuid() != 0 or shutil.which("ip") is None:
        pytest.skip("network namespaces need root and iproute2")
    name = f"nl{secrets.token_hex(3)}"
    found = Hosts(name, f"{name}a", f"{name}b", f"10.231.{secrets.randbelow(250)}.2")
    made = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True, check=False)
    if made.returncode != 0:
        pytest.skip(f"no network namespaces here: {made.stderr.strip()}")
    try:
        ip("link", "add", found.ours, "type", "veth", "peer", "name", found.theirs, "netns", name)
        ip("address", "add", found.address[:-1] + "1/30", "dev", found.ours)
        ip("-n", name, "address", "add", f"{found.address}/30", "dev", found.theirs)
        ip("link", "set", found.ours, "up")
        ip("-n", name, "link", "set", "lo", "up")
        found.link("up")
        yield found
    finally:
        subprocess.run(["ip", "link", "del", found.ours], capture_output=True, check=False)
        subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)


@pytest.fixture
def station(hosts: Hosts, tmp_path: Path) -> Iterator[str]:
    """Address of a station server on the other host that asks for certificates and tokens."""
    make_keys(tmp_path / "keys", [hosts.address], ["lab"])
    server = tmp_path / "keys" / "server"
    settings = {
        "station": THERE, "driver": "simulated", "address": f"{hosts.address}:50051",
        "config": {"world": "push_t", "profile": "nominal", "speed": 10.0, "station_seed": 7},
        "tls": {name: str(server / file) for name, file in (("ca", "ca.pem"), ("certificate", "server.pem"), ("key", "server.key"))},
        "tokens": str(server / "tokens.yaml"),
    }  # fmt: skip
    (tmp_path / "station.yaml").write_text(yaml.safe_dump(settings))
    ready = tmp_path / "ready"
    with (tmp_path / "station.log").open("w") as log:
        process = subprocess.Popen(
            [
                "ip", "netns", "exec", hosts.namespace, sys.executable, "-m", "robots.serve",
                "--config", tmp_path / "station.yaml", "--admin-socket", tmp_path / "admin.sock", "--ready-file", ready,
            ],
            cwd=PROJECT, stdout=log, stderr=log,
        )  # fmt: skip
    try:
        deadline_s = time.monotonic() + 120
        while not ready.exists():
            assert process.poll() is None, (tmp_path / "station.log").read_text()
            assert time.monotonic() < deadline_s, "the station does not serve"
            time.sleep(0.1)
        yield f"{hosts.address}:50051"
    finally:
        process.terminate()
        process.wait(30)


def test_a_stranger_is_refused(station: str, tmp_path: Path) -> None:
    async def main() -> None:
        with pytest.raises(StationError):
            await StationClient.connect(station, timeout_s=3.0)
        known = await StationClient.connect(station, keys=tmp_path / "keys" / "lab", timeout_s=20.0)
        assert (await known.describe()).station_id == THERE
        await known.close()

    asyncio.run(main())


def test_the_link_is_cut_in_the_middle_of_a_rollout(hosts: Hosts, station: str, tmp_path: Path) -> None:
    path = tmp_path / "lab"
    places = (
        StationConfig(station="robot-1", speed=10.0, station_seed=1001),
        StationConfig(
            station=THERE, speed=10.0, station_seed=7, address=station, remote=True,
            keys=str(tmp_path / "keys" / "lab"), admin_socket=str(tmp_path / "admin.sock"),
        ),
    )  # fmt: skip
    Lab.create(path, LabConfig(environment="push_t", stations=places))
    start_lab(path, say=lambda _: None, timeout_s=400.0)
    lab = ChaosLab(path, stations=2, speed="10", budget_s=240.0, seed=1)
    run = subprocess.Popen(
        [
            sys.executable, "-m", "commands.main", "run", "push_t", "--budget", "240s", "--held-out", "10", "--speed", "10",
            "--researcher", f"command:{sys.executable} {RESEARCHER}", "--lab", path, "--seed", "1", "--json",
        ],
        cwd=PROJECT, stdout=subprocess.DEVNULL, stderr=(tmp_path / "run.log").open("w"),
        env={key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"},
    )  # fmt: skip
    try:
        deadline_s = time.monotonic() + 300
        while not (len(_of(lab)) >= 2 and any(o.stage == "rollout" and o.station == THERE for o in lab.look())):
            assert run.poll() is None, (tmp_path / "run.log").read_text()[-3000:]
            assert time.monotonic() < deadline_s, f"{THERE} ran no episodes over the link"
            time.sleep(0.05)
        durable, cut_s = lab.durable(), time.time()
        hosts.link("down")
        before = len(lab.episodes)
        time.sleep(CUT_S)
        lab.look()
        assert any(where == "robot-1" for _, where, _ in lab.episodes[before:]), "the campaign went on with the others"
        assert not any(where == THERE and wall_s > cut_s + 2 for _, where, wall_s in lab.episodes)
        hosts.link("up")
        back_s = time.time()
        while not any(where == THERE and wall_s > back_s for _, where, wall_s in lab.episodes):
            assert time.time() < back_s + 120, f"{THERE} did not come back after its link was restored"
            assert run.poll() is None, (tmp_path / "run.log").read_text()[-3000:]
            time.sleep(0.1)
            lab.look()
        stats = asyncio.run(_stats(station, tmp_path / "keys" / "lab"))
        assert stats.leases_lapsed >= 1, "the station took its lease back from a holder that had fallen silent"
        assert run.wait(600) == 0, (tmp_path / "run.log").read_text()[-3000:]
    finally:
        if run.poll() is None:
            run.terminate()
            run.wait(120)
        stop_lab(path, say=lambda _: None)
    found = audit(path, durable)
    assert (found.lost, found.twice, found.unfinished) == ([], [], [])
    faults = [event for event in LedgerReader(path / "ledger.db").events(kind="station_fault")]
    assert any(event.station == THERE for event in faults), "the cut is an event in the ledger"


def _of(lab: ChaosLab) -> list[str]:
    lab.look()
    return [name for name, station, _ in lab.episodes if station == THERE]


async def _stats(address: str, keys: Path) -> object:
    client = await StationClient.connect(address, keys=keys, timeout_s=30.0)
    try:
        return await client.stats()
    finally:
        await client.close()
