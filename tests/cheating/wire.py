"""Listens on both wires of an episode: between station and harness, and between harness and policy."""

from __future__ import annotations

import asyncio
import contextlib
import json
import struct
from collections.abc import AsyncIterator, Mapping
from itertools import product
from pathlib import Path
from typing import Any, cast

import msgpack
import numpy as np

from environments import make, world
from nightlab.contracts import ControlSession, Environment, StepResult, Values
from nightlab.records import EpisodeKey, LimitsSpec, SeedPool, StationSpec
from nightlab.testing.policy import write_policy
from policies.host import PolicyProcess
from robots.admin import AdminClient
from robots.cell import Cell
from robots.client import StationClient
from robots.control_line import ControlLine
from robots.drivers.simulated import SimulatedDriver
from robots.profiles import load_profile
from robots.server import StationServer
from robots.socket_line import SocketLine
from robots.worlds import make_world
from tasks.episode import RawEpisode, run_episode

SEED = 987_654_321
SECRET = "of this lab"
STEPS = 25
PROFILE = "hard"
STATION_SEED = 3
RESET = """
self.n, self.spec = 0, spec
print(json.dumps({"seed": seed, "argv": sys.argv, "environ": dict(os.environ)}), flush=True)
"""
ACT = """
self.n += 1
print(json.dumps({key: value.tolist() for key, value in observation.items()}), flush=True)
if self.n > %d:
    return None
"""
"""Before a policy's own `act`: write down what it is shown, and end after so many steps."""


def episode_key() -> EpisodeKey:
    """The key of the episode that is listened to."""
    return EpisodeKey(campaign="C1", iteration="I1", idea="I1", station="robot-1", pool=SeedPool.SEARCH, seed=SEED)


class Listening:
    """An environment that notes the simulator's truth after every step."""

    def __init__(self, environment: Environment, admin: AdminClient) -> None:
        self._environment, self._admin = environment, admin
        self.truths: list[Mapping[str, float]] = []

    async def step(self, session: ControlSession, action: Values, *, film: bool = False) -> StepResult:
        """As the environment's own."""
        result = await self._environment.step(session, action, film=film)
        self.truths.append(await self._admin.truth())
        return result

    def __getattr__(self, name: str) -> Any:
        return getattr(self._environment, name)


class PatientDriver(SimulatedDriver):
    """A station that waits for a busy machine: actions may come late as often as they like."""

    def spec(self) -> StationSpec:
        """As the driver's own, but for `late_periods`."""
        told = super().spec()
        return told.model_copy(update={"limits": patient(told.limits)})


def patient(limits: LimitsSpec) -> LimitsSpec:
    """Limits under which nobody is too late."""
    return limits.model_copy(update={"late_periods": 100_000})


class Tap:
    """A transport that keeps what goes through."""

    def __init__(self, transport: Any, sent: bytearray) -> None:
        self.transport, self.sent = transport, sent

    def write(self, data: bytes) -> None:
        """Keep it and pass it on."""
        self.sent += data
        self.transport.write(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.transport, name)


class TappedClient(StationClient):
    """A client whose control stream is listened to, too."""

    from_station: bytearray
    to_station: bytearray
    streams = 0

    async def _line(self) -> ControlLine:
        line = await super()._line()
        assert isinstance(line, SocketLine)
        self.streams += 1
        link, received = line._link, line._link.data_received
        link._transport = Tap(link._transport, self.to_station)

        def keep(data: bytes) -> None:
            self.from_station.extend(data)
            received(data)

        link.data_received = keep  # type: ignore[method-assign]
        return line


@contextlib.asynccontextmanager
async def tapped(address: str) -> AsyncIterator[tuple[str, bytearray, bytearray]]:
    """A proxy in front of a station: its address, the bytes that came from the station, and those that went to it."""
    host, port = address.split(":")
    heard, asked = bytearray(), bytearray()

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, kept: bytearray) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(1 << 16):
                kept.extend(data)
                writer.write(data)
                await writer.drain()
        writer.close()

    async def join(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection(host, int(port))
        with contextlib.suppress(asyncio.CancelledError):  # the episode is over
            await asyncio.gather(pump(reader, back, asked), pump(there, writer, heard))

    proxy = await asyncio.start_server(join, "127.0.0.1", 0)
    try:
        yield f"127.0.0.1:{proxy.sockets[0].getsockname()[1]}", heard, asked
    finally:
        proxy.close()


class Heard:
    """What was heard in one episode on the profile `hard`."""

    def __init__(
        self,
        spec: StationSpec,
        truths: list[Mapping[str, float]],
        to_policy: bytes,
        from_station: bytes,
        to_station: bytes,
        log: str,
        raw: RawEpisode,
    ) -> None:
        self.spec, self.truths, self.log, self.raw = spec, truths, log, raw
        self.to_policy, self.from_station, self.to_station = to_policy, from_station, to_station

    def leaked(self, wire: bytes) -> set[str]:
        """Names of true values whose eight bytes are on a wire.

        Whole numbers are left out, they are everywhere, and so are numbers that the station's description names as bounds.
        """
        public = _numbers(self.spec.model_dump(mode="json"))
        told = {(value, name) for truth in self.truths for name, value in truth.items()}
        secret = {
            struct.pack("<d", value): name for value, name in told if value != round(value) and value not in public
        }
        patterns = np.sort(np.frombuffer(b"".join(secret), "<u8"))
        found: set[str] = set()
        for begin, order in product(
            range(8), "<>"
        ):  # at any byte; arrays travel little-endian, msgpack's own numbers big
            words = np.frombuffer(wire, f"{order}u8", count=max(0, len(wire) - begin) // 8, offset=begin)
            nearest = patterns[np.minimum(np.searchsorted(patterns, words), len(patterns) - 1)]
            found |= {secret[int(word).to_bytes(8, "little")] for word in words[nearest == words]}
        return found

    @property
    def seen(self) -> list[dict[str, Any]]:
        """What the policy was shown, observation by observation, as it wrote it down itself."""
        rows = [json.loads(line) for line in self.log.splitlines() if line.startswith("{")]
        return [row for row in rows if "environ" not in row]

    @property
    def messages(self) -> list[Any]:
        """The framed messages on the policy's wire."""
        found, at = [], 0
        while at < len(self.to_policy):
            length = int.from_bytes(self.to_policy[at : at + 4], "big")
            found.append(msgpack.unpackb(self.to_policy[at + 4 : at + 4 + length], strict_map_key=False))
            at += 4 + length
        return found


def _numbers(value: Any) -> set[float]:
    if isinstance(value, dict):
        return {number for item in value.values() for number in _numbers(item)}
    if isinstance(value, list):
        return {number for item in value for number in _numbers(item)}
    return {float(value)} if isinstance(value, int | float) else set()


async def listen(folder: Path, environment: str, act: str) -> Heard:
    """One episode of an environment, with the policy's `act` as source; served station, real policy process."""
    name = world(environment)
    driver = PatientDriver(
        lambda profile, seed: make_world(name, load_profile(profile, name), seed), "robot-1", PROFILE, STATION_SEED, 0.0
    )
    cell = Cell(driver)
    cell.start()
    for camera in driver.spec().cameras:
        cell.capture(camera.key)
    server = StationServer(cell, "127.0.0.1:0", folder / "a.sock", driver)
    code, checkpoint = write_policy(folder, act=ACT % STEPS + act, reset=RESET, load="import json, os, sys")
    try:
        async with tapped(server.address) as (address, from_station, to_station):
            station = await TappedClient.connect(address)
            station.from_station, station.to_station = from_station, to_station
            admin = await AdminClient.connect(folder / "a.sock")
            listening = Listening(make(environment), admin)
            policy = await PolicyProcess.start(code, checkpoint, act_deadline_s=60.0, start_deadline_s=120.0)
            tap = Tap(policy._link._transport, bytearray())
            policy._link._transport = tap
            lease = await station.lease("test", patient(listening.limits))
            spec = await station.describe()
            raw = await run_episode(
                cast(Environment, listening), station, lease, admin, policy, spec, episode_key(),
                film=False, secret=SECRET,
            )  # fmt: skip
            assert station.streams, "the control stream was listened to"
            await policy.close()
            await admin.close()
            await station.close()
    finally:
        server.stop(0.1)
    return Heard(spec, listening.truths, bytes(tap.sent), bytes(from_station), bytes(to_station), policy.log, raw)
