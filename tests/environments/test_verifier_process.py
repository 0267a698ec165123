"""The verifier as a process: the same verdicts, clear refusals, back after kill -9, nothing left behind."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest

from environments import make_verifier, manifest
from environments.frames import encode_frames
from environments.verifier_client import VerifierClient
from environments.verifier_process import VerifierServer
from nightlab.contracts import EpisodeEvidence, Frame, StoredEvidence
from nightlab.errors import ServiceError, UsageError
from nightlab.geometry import GOAL_POSE
from nightlab.records import Clock, Outcome
from robots.worlds.push_t_camera import render_table

PROJECT = Path(manifest.__file__).parents[1]


@contextlib.contextmanager
def folder() -> Iterator[Path]:
    """A short path: Unix sockets allow about 100 characters."""
    with TemporaryDirectory(prefix="nl") as name:
        yield Path(name)


def start(where: Path, ready: str = "ready.json") -> subprocess.Popen[str]:
    arguments = ["--socket", str(where / "v.sock"), "--ready-file", str(where / ready)]
    process = subprocess.Popen(
        [sys.executable, "-m", "environments.verifier_process", *arguments],
        cwd=PROJECT, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    deadline = time.monotonic() + 30
    while not (where / ready).exists() and process.poll() is None:
        assert time.monotonic() < deadline, "the verifier did not start in 30 s"
        time.sleep(0.02)
    return process


def end(process: subprocess.Popen[str]) -> tuple[int, str]:
    process.terminate()
    _, errors = process.communicate(timeout=10)
    return process.returncode, errors


def solved(moved_px: float = 0.0) -> EpisodeEvidence:
    pose = (GOAL_POSE[0] + moved_px, *GOAL_POSE[1:])
    clock = Clock(wall_s=1.0, station_s=1.0)
    frames = [Frame("top", clock, seq, render_table((60.0, 60.0), pose)) for seq in range(5)]
    seen = {"agent_xy": np.array([60.0, 60.0]), "block_pose": np.array(pose)}
    return EpisodeEvidence("push_t", frames, [seen] * 5)


async def ask(socket: Path) -> None:
    client = await VerifierClient.connect(socket)
    try:
        sha256 = (await client.manifests())["push_t"]
        assert sha256 == manifest.check("push_t")
        for moved_px in (0.0, 3.0, 20.0):
            evidence = solved(moved_px)
            here = make_verifier("push_t", sha256).verify(evidence)
            pngs = encode_frames([frame.rgb for frame in evidence.frames])
            for there in (
                await client.verify(evidence),
                await client.verify(evidence, frames_png=pngs),
                await client.verify_stored("push_t", StoredEvidence(pngs, evidence.observations)),
            ):
                assert there.model_copy(update={"latency_s": 0.0}) == here.model_copy(update={"latency_s": 0.0})
        frozen = replace(solved(), frames=[replace(frame, seq=1) for frame in solved().frames])
        assert (await client.verify(frozen)).outcome is Outcome.UNSCORED
        with pytest.raises(UsageError, match=r"unknown environment 'nope'; there are: .*push_t"):
            await client.verify_stored("nope", StoredEvidence())
        with pytest.raises(UsageError, match="4 bytes given as a frame are no PNG"):
            await client.verify_stored("push_t", StoredEvidence([b"junk"]))
        assert (await client.verify_stored("push_t", StoredEvidence())).outcome is Outcome.UNSCORED
    finally:
        await client.close()


def test_the_process_judges_as_the_class_does_and_leaves_nothing() -> None:
    with folder() as where:
        process = start(where)
        ready = json.loads((where / "ready.json").read_text())
        assert ready["pid"] == process.pid
        assert (where / "v.sock").stat().st_mode & 0o777 == 0o600
        asyncio.run(ask(where / "v.sock"))
        second = start(where, "second.json")
        assert second.wait(10) == 2
        assert second.stderr is not None
        assert "another verifier answers on" in second.stderr.read()
        assert end(process) == (0, "")
        assert not (where / "v.sock").exists()


def test_a_killed_verifier_costs_nothing_but_time() -> None:
    async def body(where: Path, first: subprocess.Popen[str]) -> subprocess.Popen[str]:
        client = await VerifierClient.connect(where / "v.sock")
        assert (await client.verify(solved())).outcome is Outcome.SUCCESS
        os.kill(first.pid, signal.SIGKILL)
        first.wait()
        waiting = asyncio.create_task(client.verify(solved()))
        second = await asyncio.to_thread(start, where, "again.json")
        assert (await waiting).outcome is Outcome.SUCCESS
        await client.close()
        return second

    with folder() as where:
        first = start(where)
        second = asyncio.run(body(where, first))
        first.communicate()
        assert end(second)[0] == 0


def test_no_verifier_is_one_clear_line() -> None:
    with (
        folder() as where,
        pytest.raises(ServiceError, match=r"the verifier does not answer on .*v\.sock .*nightlab up"),
    ):
        asyncio.run(VerifierClient.connect(where / "v.sock", wait_s=0.1))


def test_a_cancelled_call_does_not_mix_up_replies() -> None:
    async def body(where: Path) -> None:
        client = await VerifierClient.connect(where / "v.sock")
        call = asyncio.create_task(client.verify(solved(20.0)))
        await asyncio.sleep(0.01)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert (await client.verify(solved())).outcome is Outcome.SUCCESS
        await client.close()

    with folder() as where:
        process = start(where)
        asyncio.run(body(where))
        end(process)


def test_a_broken_request_is_answered_and_the_server_lives() -> None:
    server = VerifierServer()
    assert "unknown call 'destroy'" in server.answer({"call": "destroy"})["error"]
    assert "evidence that is not understood (KeyError: 'pngs')" in server.answer({"call": "verify"})["error"]
    assert server.answer({"call": "ping"})["pid"] == os.getpid()
