"""Push-T over a real station server: reset, control, evidence and verdict through gRPC, and the Gymnasium adapter."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import gymnasium
import numpy as np
import pytest

import environments.gym  # noqa: F401 (registers the environments)
from environments import make, make_verifier, manifest
from nightlab.records import Outcome, StationPlace
from robots.admin import AdminClient
from robots.client import StationClient

PROJECT = Path(manifest.__file__).parents[1]


@pytest.fixture(scope="module")
def place() -> Iterator[StationPlace]:
    with TemporaryDirectory(prefix="nl") as name:
        where = Path(name)
        process = subprocess.Popen(
            [
                sys.executable, "-m", "robots.serve", "--station", "robot-1", "--profile", "nominal", "--speed", "10",
                "--station-seed", "7", "--admin-socket", str(where / "a.sock"), "--ready-file", str(where / "ready"),
                "--die-with-parent",
            ],
            cwd=PROJECT,
        )  # fmt: skip
        deadline = time.monotonic() + 30
        while not (where / "ready").exists():
            assert process.poll() is None, "the station server did not start"
            assert time.monotonic() < deadline, "the station server did not start in 30 s"
            time.sleep(0.05)
        yield StationPlace.model_validate(json.loads((where / "ready").read_text()))
        process.terminate()
        process.wait(10)


def test_an_episode_through_the_server_is_judged_as_it_was(place: StationPlace) -> None:
    async def run() -> None:
        assert place.admin_socket is not None
        environment, verifier = make("push_t"), make_verifier("push_t")
        station = await StationClient.connect(place.address)
        admin = await AdminClient.connect(place.admin_socket)
        lease = await station.lease("test", environment.limits)
        report = await environment.reset(station, lease, 11, admin=admin)
        assert report.success, report.reason
        assert report.simulator_shortcut
        assert report.duration_s > 0
        async with station.control(lease, "episode") as session:
            observation = await session.hold()
            for _ in range(15):
                towards = np.clip(observation.values["block_pose"][:2] - observation.values["agent_xy"], -20, 20)
                action = {"target_xy": np.clip(observation.values["agent_xy"] + towards, 0, 512)}
                observation = (await environment.step(session, action)).observation
            evidence = await environment.evidence(station, session)
        truth = await admin.truth()
        verdict = verifier.verify(evidence)
        assert verdict.outcome is Outcome.FAILURE
        assert all(predicate.passed for predicate in verdict.predicates if predicate.name != "coverage_held")
        assert verdict.score == pytest.approx(truth["coverage"], abs=0.01)
        await admin.close()
        await lease.release()
        await station.close()

    asyncio.run(run())


def test_gymnasium_drives_the_served_station(place: StationPlace) -> None:
    env = gymnasium.make("nightlab/push_t-v0", address=place.address, admin_socket=place.admin_socket)
    observation, info = env.reset(seed=5)
    assert info["reset"]["success"]
    for _ in range(5):
        observation, reward, _, _, _ = env.step({"target_xy": observation["agent_xy"]})
        assert 0.0 <= reward <= 1.0
    env.close()
