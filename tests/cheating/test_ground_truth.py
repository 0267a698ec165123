"""Listens on the wires of an episode: nothing of the simulator's truth reaches the policy but its declared sensors."""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import struct
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

import msgpack
import numpy as np
import pytest

from environments.push_t.environment import PushT
from nightlab.contracts import ControlSession, StepResult, Values
from nightlab.records import EpisodeKey, SeedPool
from nightlab.testing.policy import write_policy
from policies.host import PolicyProcess
from robots import serve
from robots.admin import AdminClient
from robots.client import StationClient
from robots.profiles import load_profile
from tasks.episode import policy_seed, run_episode

DECLARED = {"agent_x_px", "agent_y_px"}
"""True values that a sensor of the station gives as they are: the disc's own encoder."""
SEED = 987_654_321
STEPS = 25
ACT = """
self.n += 1
print(json.dumps({key: value.tolist() for key, value in observation.items()}), flush=True)
if self.n > 25:
    return None
return [{"target_xy": np.clip(observation["agent_xy"] + np.sign(observation["block_pose"][:2] - observation["agent_xy"]) * 25, 5, 500)}]
"""
RESET = """
self.n = 0
print(json.dumps({"seed": seed, "argv": sys.argv, "environ": dict(os.environ)}), flush=True)
"""


class Listening(PushT):
    """Push-T that notes the simulator's truth after every step."""

    def __init__(self, admin: AdminClient) -> None:
        super().__init__()
        self.admin = admin
        self.truths: list[Mapping[str, float]] = []

    async def step(self, session: ControlSession, action: Values, *, film: bool = False) -> StepResult:
        result = await super().step(session, action, film=film)
        self.truths.append(await self.admin.truth())
        return result


class Tap:
    """A stream writer that keeps what goes through."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self.writer, self.sent = writer, bytearray()

    def write(self, data: bytes) -> None:
        self.sent += data
        self.writer.write(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.writer, name)


@contextlib.asynccontextmanager
async def tapped(address: str) -> AsyncIterator[tuple[str, bytearray]]:
    """A proxy in front of a station: its address, and the bytes that came from the station."""
    host, port = address.split(":")
    heard = bytearray()

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, keep: bool) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(1 << 16):
                heard.extend(data if keep else b"")
                writer.write(data)
                await writer.drain()
        writer.close()

    async def join(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection(host, int(port))
        await asyncio.gather(pump(reader, back, False), pump(there, writer, True))

    proxy = await asyncio.start_server(join, "127.0.0.1", 0)
    try:
        yield f"127.0.0.1:{proxy.sockets[0].getsockname()[1]}", heard
    finally:
        proxy.close()


class Heard:
    """What was heard in one episode on the profile `hard`."""

    def __init__(self, truths: list[Mapping[str, float]], to_policy: bytes, from_station: bytes, log: str) -> None:
        self.truths, self.to_policy, self.from_station, self.log = truths, to_policy, from_station, log

    def leaked(self, wire: bytes) -> set[str]:
        """Names of true values whose eight bytes are on a wire. Whole numbers are left out: they are everywhere."""
        return {
            name for truth in self.truths for name, value in truth.items()
            if value != round(value) and struct.pack("<d", value) in wire
        }  # fmt: skip


async def listen(folder: Path) -> Heard:
    arguments = ["--station", "robot-1", "--profile", "hard", "--speed", "max", "--station-seed", "3"]
    server = serve.start(serve.parse([*arguments, "--admin-socket", str(folder / "a.sock")]))
    code, checkpoint = write_policy(folder, act=ACT, reset=RESET, load="import json, os, sys")
    key = EpisodeKey(campaign="C1", iteration="I1", idea="I1", station="robot-1", pool=SeedPool.SEARCH, seed=SEED)
    try:
        async with tapped(server.address) as (address, from_station):
            station = await StationClient.connect(address)
            admin = await AdminClient.connect(folder / "a.sock")
            environment = Listening(admin)
            policy = await PolicyProcess.start(code, checkpoint)
            tap = Tap(policy._writer)
            policy._writer = cast(asyncio.StreamWriter, tap)
            lease = await station.lease("test", environment.limits)
            spec = await station.describe()
            await run_episode(environment, station, lease, admin, policy, spec, key, film=False, secret="of this lab")
            await policy.close()
            await admin.close()
            await station.close()
    finally:
        server.stop(0.1)
    return Heard(environment.truths, bytes(tap.sent), bytes(from_station), policy.log)


@pytest.fixture(scope="module")
def heard() -> Iterator[Heard]:
    with TemporaryDirectory(prefix="nl") as name:
        yield asyncio.run(listen(Path(name)))


def messages(wire: bytes) -> list[Any]:
    """The framed messages on the policy's wire."""
    found, at = [], 0
    while at < len(wire):
        length = int.from_bytes(wire[at : at + 4], "big")
        found.append(msgpack.unpackb(wire[at + 4 : at + 4 + length], strict_map_key=False))
        at += 4 + length
    return found


def test_the_wires_were_really_listened_to(heard: Heard) -> None:
    assert len(heard.truths) == STEPS
    assert {"block_x_px", "block_angle_rad", "coverage", "friction"} <= set(heard.truths[0])
    assert heard.leaked(heard.to_policy) == heard.leaked(heard.from_station) == DECLARED


def test_the_policy_is_told_its_channels_and_nothing_else(heard: Heard) -> None:
    said = messages(heard.to_policy)
    assert [message[0] for message in said] == ["reset"] + ["act"] * (STEPS + 1) + ["close"]
    spec = said[0][1]
    assert set(spec) == set(type(load_spec()).model_fields)
    channels = {channel["key"] for channel in spec["observations"]}
    assert all(set(message[1]) == channels for message in said if message[0] == "act")
    text = json.dumps(spec)
    for trait in load_profile("hard").spreads():
        assert trait not in text


def load_spec() -> Any:
    """Push-T's spec, as the world gives it."""
    from robots.worlds import make_world

    return make_world("push_t", load_profile("nominal"), 0).spec("robot-1", 0.0)


def test_the_seed_is_on_no_wire_to_the_policy(heard: Heard) -> None:
    told = messages(heard.to_policy)[0][2]
    key = EpisodeKey(campaign="C1", iteration="I1", idea="I1", station="robot-1", pool=SeedPool.SEARCH, seed=SEED)
    assert told == policy_seed(key, "of this lab")
    assert told not in (SEED, policy_seed(key))
    for form in (str(SEED).encode(), SEED.to_bytes(4, "big"), SEED.to_bytes(4, "little")):
        assert form not in heard.to_policy
        assert form not in heard.log.encode()


def test_what_the_policy_saw_is_as_noisy_as_the_profile_declares(heard: Heard) -> None:
    seen = [json.loads(line) for line in heard.log.splitlines() if "block_pose" in line]
    assert len(seen) == STEPS + 1
    profile = load_profile("hard")
    delay = int(profile.spreads()["observation_delay_steps"].value)
    pairs = [(row["block_pose"], truth) for row, truth in zip(seen[1 + delay :], heard.truths, strict=False)]
    errors = [math.hypot(pose[0] - truth["block_x_px"], pose[1] - truth["block_y_px"]) for pose, truth in pairs]
    declared_px = profile.spreads()["pose_noise_px"].value
    assert 0.4 * declared_px < float(np.mean(errors)) / math.sqrt(math.pi / 2) < 2.5 * declared_px
    assert min(errors) > 0
    assert {key for row in seen for key in row} == {"agent_xy", "block_pose"}
