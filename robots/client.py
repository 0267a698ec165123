"""The async client of a station server. Implements `nightlab.contracts.Station`."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np

from nightlab import contracts
from nightlab.contracts import Frame, Observation, Values
from nightlab.errors import LeaseError, StationError
from nightlab.records import Clock, LimitsSpec, StationSpec
from robots import station_pb2 as pb
from robots import station_pb2_grpc as rpc
from robots import wire
from robots.calls import CALL_S, Channel
from robots.client_lease import ClientLease
from robots.client_session import ClientSession
from robots.control_line import ControlLine
from robots.grpc_line import GrpcLine
from robots.socket_line import SocketLine
from robots.stats import StationStats
from robots.tokens import TOKEN_KEY

WAIT_S = 2.0
MOTION_S = 120.0
CAPTURE_S = 10.0


async def estop_now(address: str, reason: str, *, keys: Path | str = "", timeout_s: float = CALL_S) -> None:
    """Stop a station's motion: a connection of its own, one call, nothing before it.

    Raises:
        StationError: nobody confirmed within `timeout_s`.
    """
    channel = Channel(address, keys)
    try:
        stub = rpc.StationStub(channel.grpc)  # type: ignore[no-untyped-call]
        await channel.call(stub.EStop, pb.EStopRequest(reason=reason), "estop", timeout_s=timeout_s)
    finally:
        await channel.close()


class StationClient:
    """A connection to one station. Make it with `await StationClient.connect(address)`.

    Every call has a deadline: a station that was killed or hangs is a StationError within seconds, never a wait.
    """

    def __init__(self, channel: Channel, *, local: bool = True) -> None:
        self._channel = channel
        self._local = local
        self._control_socket = ""
        self._stub: Any = rpc.StationStub(channel.grpc)  # type: ignore[no-untyped-call]
        self._leases: list[ClientLease] = []
        self._spec: StationSpec | None = None

    @classmethod
    async def connect(
        cls, address: str, *, keys: Path | str = "", timeout_s: float = CALL_S, local: bool = True
    ) -> StationClient:
        """Connect and describe.

        Args:
            address: `host:port` or `unix:/path`, as in `StationPlace.address`.
            keys: folder with certificate and token, as in `StationPlace.keys`; empty: a station on loopback needs none.
            timeout_s: how long the station may take to answer.
            local: control streams go over the station's Unix socket where it is on this host; False: over gRPC always.

        Raises:
            UsageError: the folder lacks a part.
            StationError: nobody answers there, or it refuses these keys.
        """
        client = cls(Channel(address, keys), local=local)
        try:
            await client._fetch_spec(timeout_s)
        except BaseException:
            await client.close()
            raise
        return client

    @property
    def address(self) -> str:
        """Where the station answers."""
        return self._channel.address

    async def close(self) -> None:
        """Give back leases that are still held, and close the connection."""
        for lease in list(self._leases):
            try:
                await lease.release()
            except StationError:
                continue
        await self._channel.close()

    async def describe(self) -> StationSpec:
        """The station's spec as it is now."""
        return await self._fetch_spec(CALL_S)

    async def _fetch_spec(self, timeout_s: float) -> StationSpec:
        reply = await self._channel.call(self._stub.Describe, pb.Empty(), "describe", timeout_s=timeout_s)
        self._spec = StationSpec.model_validate_json(reply.spec_json)
        return self._spec

    async def lease(
        self, holder: str, limits: LimitsSpec, ttl_s: float = 5.0, *, wait_s: float | None = None
    ) -> ClientLease:
        """Wait, first come first served, for sole control within the intersection of both limits.

        Args:
            holder: who wants it, e.g. the iteration; shown to others.
            limits: the environment's; they can only narrow the station's.
            ttl_s: silence after which the station takes the lease back, 0.2 to 60 s. A task renews it at a third.
            wait_s: give up after so long; None: wait for ever.

        Raises:
            SafetyError: no limits for an action, or limits that leave nothing allowed.
            LeaseError: not granted within `wait_s`; says who holds it.
            StationError: the station is gone.
        """
        ticket = secrets.token_hex(8)
        ask = pb.AcquireLeaseRequest(ticket=ticket, holder=holder, limits_json=limits.model_dump_json(), ttl_s=ttl_s)
        loop = asyncio.get_running_loop()
        give_up = None if wait_s is None else loop.time() + wait_s
        while True:
            left_s = WAIT_S if give_up is None else min(WAIT_S, give_up - loop.time())
            ask.wait_s = max(0.0, left_s)
            reply = await self._channel.call(self._stub.AcquireLease, ask, "lease", timeout_s=WAIT_S + CALL_S)
            if reply.granted:
                break
            if left_s <= 0:
                raise LeaseError(
                    f"no lease for {holder!r} within {wait_s:g} s: the station is held by "
                    f"{reply.held_by or 'nobody'!r}, {reply.ahead} wait before it"
                )
            if left_s < WAIT_S and give_up is None:
                await asyncio.sleep(0.05)
        self._control_socket = reply.control_socket if self._local else ""
        lease = ClientLease(
            self._channel, self._stub, reply.token, LimitsSpec.model_validate_json(reply.limits_json), ttl_s
        )
        lease.on_release = lambda: self._leases.remove(lease) if lease in self._leases else None
        self._leases.append(lease)
        return lease

    async def observe(self) -> Observation:
        """What the sensors say now."""
        return wire.unpack_observation(await self._channel.call(self._stub.Observe, pb.Empty(), "observe"))

    @asynccontextmanager
    async def control(self, lease: contracts.Lease, label: str = "") -> AsyncIterator[ClientSession]:
        """A control stream; while it is open nothing else moves the robot. Leaving it holds the robot.

        Raises:
            LeaseError: the lease lapsed or was released.
            StationError: e-stop, fault, another stream is open, or the station is gone.
        """
        spec = self._spec or await self.describe()
        session = ClientSession(await self._line(), spec)
        try:
            await session.open(lease.token, label)
            yield session
        finally:
            await session.close()

    async def _line(self) -> ControlLine:
        return await SocketLine.connect(self._control_socket, self.address) or GrpcLine(self._channel, self._stub)

    async def move_to_pose(self, lease: contracts.Lease, pose: Sequence[float], *, arm: str = "") -> Observation:
        """Push-T: drive the pusher to (x, y) px. Raises StationError if it does not get there."""
        ask = pb.MoveToPoseRequest(token=lease.token, pose=[float(value) for value in pose], arm=arm)
        return await self._move(self._stub.MoveToPose, ask, "move_to_pose")

    async def home(self, lease: contracts.Lease) -> Observation:
        """Drive to the home pose of the station's kind; Push-T: (256, 400) px."""
        return await self._move(self._stub.Home, pb.LeaseRequest(token=lease.token), "home")

    async def grasp(self, lease: contracts.Lease, *, width_m: float, force_N: float, arm: str = "") -> Observation:
        """Close a gripper. Raises StationError where the kind has none."""
        ask = pb.GraspRequest(token=lease.token, width_m=width_m, force_N=force_N, arm=arm)
        return await self._move(self._stub.Grasp, ask, "grasp")

    async def release(self, lease: contracts.Lease, *, arm: str = "") -> Observation:
        """Open a gripper. Raises StationError where the kind has none."""
        return await self._move(self._stub.Release, pb.ReleaseRequest(token=lease.token, arm=arm), "release")

    async def apply_force(
        self, lease: contracts.Lease, wrench: Sequence[float], *, duration_s: float, arm: str = ""
    ) -> Observation:
        """Press with a wrench (N,N,N,Nm,Nm,Nm). Raises StationError where the kind cannot."""
        ask = pb.ApplyForceRequest(token=lease.token, wrench=list(wrench), duration_s=duration_s, arm=arm)
        return await self._move(self._stub.ApplyForce, ask, "apply_force")

    async def get_joint_states(self) -> Values:
        """Joint positions; Push-T: `agent_xy`, the pusher's two axes."""
        return wire.unpack_values(await self._channel.call(self._stub.GetJointStates, pb.Empty(), "get_joint_states"))

    async def capture(self, camera: str) -> Frame:
        """One lossless frame. `seq` counts the station's frames. Raises StationError for an unknown camera."""
        ask = pb.CaptureRequest(camera=camera)
        reply = await self._channel.call(self._stub.Capture, ask, "capture", timeout_s=CAPTURE_S)
        shape = (reply.height_px, reply.width_px)
        depth = np.frombuffer(reply.depth_m, dtype="<f4").reshape(shape) if reply.depth_m else None
        rgb = np.frombuffer(reply.rgb, dtype=np.uint8).reshape(*shape, 3)
        return Frame(reply.camera, wire.unpack_clock(reply.clock), reply.seq, rgb, depth)

    async def clock(self) -> Clock:
        """Both clocks, stamped by the server."""
        return (await self.stats()).clock

    async def stats(self) -> StationStats:
        """What the station did since its server was started."""
        reply = await self._channel.call(self._stub.Stats, pb.Empty(), "stats")
        return StationStats.from_reply(reply)

    async def estop(self, reason: str) -> None:
        """Stop motion now; needs no lease. The station refuses to move until `clear_estop`."""
        await self._channel.call(self._stub.EStop, pb.EStopRequest(reason=reason), "estop")

    async def clear_estop(self, token: str = "") -> None:
        """Allow motion again. `token`: the operator's, where the connection's keys are not.

        Raises:
            StationError: the token is no operator's.
        """
        metadata = ((TOKEN_KEY, token),) if token else None
        await self._channel.call(self._stub.ClearEStop, pb.Empty(), "clear_estop", metadata=metadata)

    async def _move(self, method: Any, request: Any, what: str) -> Observation:
        return wire.unpack_observation(await self._channel.call(method, request, what, timeout_s=MOTION_S))
