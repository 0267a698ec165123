"""The gRPC face of a cell: messages in, messages out, errors as status codes."""

from __future__ import annotations

import contextlib
import resource
import time
import traceback
from collections.abc import Callable, Iterator
from typing import Any

from nightlab.errors import NightlabError, SafetyError, StationError
from nightlab.records import LimitsSpec
from robots import station_pb2 as pb
from robots import station_pb2_grpc as rpc
from robots import wire
from robots.cell import Cell
from robots.control_streams import ControlStream, ControlStreams, ends
from robots.driver import Primitive

MAX_WAIT_S = 2.0
"""Longest that one AcquireLease call waits; the client asks again with its ticket."""
MAX_WAITERS = 40
"""Threads that may wait for the lease; the others of the pool stay free for e-stop and control."""


def guarded[T](context: Any, work: Callable[[], T]) -> T:
    """Run the work of an RPC; an error becomes its status code and one line of text."""
    try:
        return work()
    except Exception as error:
        if not isinstance(error, NightlabError):
            traceback.print_exc()
        context.abort(*wire.status_of(error))
        raise


class StationService(rpc.StationServicer):
    """Implements service `nightlab.v1.Station`.

    Args:
        cell: the station.
        streams: what `Control` opens.
        control_socket: name of the abstract Unix socket that opens the same on this host; empty: there is none.
    """

    def __init__(self, cell: Cell, streams: ControlStreams, control_socket: str = "") -> None:
        self._cell = cell
        self._waiters = 0
        self._streams = streams
        self._control_socket = control_socket

    def Describe(self, request: pb.Empty, context: Any) -> pb.DescribeReply:
        return pb.DescribeReply(spec_json=self._cell.driver.spec().model_dump_json())

    def AcquireLease(self, request: pb.AcquireLeaseRequest, context: Any) -> pb.AcquireLeaseReply:
        def work() -> pb.AcquireLeaseReply:
            try:
                asked = LimitsSpec.model_validate_json(request.limits_json)
            except ValueError as error:
                raise StationError(f"lease for {request.holder!r}: its limits cannot be read: {error}") from error
            patient = request.wait_s > 0 and self._waiters < MAX_WAITERS
            wait_s = min(request.wait_s, MAX_WAIT_S) if patient else 0.0
            self._waiters += 1
            try:
                grant = self._cell.acquire(
                    request.ticket, request.holder, asked, request.ttl_s, wait_s, context.is_active
                )
            finally:
                self._waiters -= 1
            leases = self._cell.leases
            if grant is None:
                return pb.AcquireLeaseReply(ahead=leases.ahead(request.ticket), held_by=leases.holder)
            return pb.AcquireLeaseReply(
                granted=True,
                token=grant.token,
                limits_json=grant.limits.model_dump_json(),
                held_by=grant.holder,
                control_socket=self._control_socket,
            )

        return guarded(context, work)

    def RenewLease(self, request: pb.LeaseRequest, context: Any) -> pb.RenewLeaseReply:
        return guarded(context, lambda: pb.RenewLeaseReply(ttl_s=self._cell.leases.check(request.token).ttl_s))

    def ReleaseLease(self, request: pb.LeaseRequest, context: Any) -> pb.Empty:
        guarded(context, lambda: self._cell.release(request.token))
        return pb.Empty()

    def Observe(self, request: pb.Empty, context: Any) -> pb.Observation:
        return guarded(context, lambda: wire.pack_tick(self._cell.observe(), pb.Observation()))

    def Control(self, requests: Iterator[pb.ControlRequest], context: Any) -> Iterator[pb.ControlReply]:
        try:
            with self._streams.slot(), contextlib.closing(self._open(next(requests, None))) as stream:
                if not context.add_callback(stream.close):
                    return  # the client is gone already
                yield wire.pack_reply(stream.opened)
                for request in requests:
                    try:
                        reply = stream.ask(*wire.unpack_request(request))
                    except NightlabError as error:
                        reply = stream.refused(error)
                    yield wire.pack_reply(reply)
                    if ends(reply):
                        return
        except Exception as error:
            if not isinstance(error, NightlabError):
                traceback.print_exc()
            context.abort(*wire.status_of(error))

    def _open(self, first: pb.ControlRequest | None) -> ControlStream:
        if first is None or first.WhichOneof("ask") != "open":
            raise SafetyError(wire.NOT_OPEN)
        return self._streams.open(first.open.token, first.open.label)

    def MoveToPose(self, request: pb.MoveToPoseRequest, context: Any) -> pb.Observation:
        return self._primitive(request, Primitive("move_to_pose", arm=request.arm, pose=tuple(request.pose)), context)

    def Home(self, request: pb.LeaseRequest, context: Any) -> pb.Observation:
        return self._primitive(request, Primitive("home"), context)

    def Grasp(self, request: pb.GraspRequest, context: Any) -> pb.Observation:
        wanted = Primitive("grasp", arm=request.arm, width_m=request.width_m, force_N=request.force_N)
        return self._primitive(request, wanted, context)

    def Release(self, request: pb.ReleaseRequest, context: Any) -> pb.Observation:
        return self._primitive(request, Primitive("release", arm=request.arm), context)

    def ApplyForce(self, request: pb.ApplyForceRequest, context: Any) -> pb.Observation:
        wanted = Primitive("apply_force", arm=request.arm, wrench=tuple(request.wrench), duration_s=request.duration_s)
        return self._primitive(request, wanted, context)

    def _primitive(self, request: Any, wanted: Primitive, context: Any) -> pb.Observation:
        return guarded(
            context,
            lambda: wire.pack_tick(self._cell.primitive(request.token, wanted, context.is_active), pb.Observation()),
        )

    def GetJointStates(self, request: pb.Empty, context: Any) -> pb.Values:
        return guarded(context, lambda: wire.pack_values(self._cell.joint_states(), pb.Values()))

    def Capture(self, request: pb.CaptureRequest, context: Any) -> pb.Frame:
        def work() -> pb.Frame:
            rgb, depth_m, stamp = self._cell.capture(request.camera)
            height, width = rgb.shape[:2]
            number = self._cell.next_frame()
            out = pb.Frame(camera=request.camera, seq=number, height_px=height, width_px=width, rgb=rgb.tobytes())
            if depth_m is not None:
                out.depth_m = depth_m.astype("<f4", copy=False).tobytes()
            wire.pack_clock(stamp, out.clock)
            return out

        return guarded(context, work)

    def EStop(self, request: pb.EStopRequest, context: Any) -> pb.Empty:
        guarded(context, lambda: self._cell.controller.estop(request.reason))
        return pb.Empty()

    def ClearEStop(self, request: pb.Empty, context: Any) -> pb.Empty:
        guarded(context, self._cell.controller.clear)
        return pb.Empty()

    def Stats(self, request: pb.Empty, context: Any) -> pb.StatsReply:
        cell, used = self._cell, resource.getrusage(resource.RUSAGE_SELF)
        counters, leases = cell.controller.counters, cell.leases
        out = pb.StatsReply(
            station_id=cell.driver.spec().station_id,
            uptime_s=time.monotonic() - cell.started_s,
            seq=counters.seq,
            periods=counters.periods,
            late=counters.late,
            clamped=counters.clamped,
            refused=counters.refused,
            streams=counters.streams,
            faults=counters.faults,
            control_wall_s=counters.control_wall_s,
            control_station_s=counters.control_station_s,
            lease_holder=leases.holder,
            lease_waiting=leases.waiting,
            leases_lapsed=leases.lapsed,
            estop=cell.controller.estopped + (f" ({cell.controller.unstopped})" if cell.controller.unstopped else ""),
            label=cell.label,
            cpu_s=used.ru_utime + used.ru_stime,
            last_motion_s=cell.controller.clock.wall(cell.controller.motion_s),
            estop_s=cell.controller.clock.wall(cell.controller.estop_s),
            protective_stops=counters.protective_stops,
        )
        wire.pack_clock(cell.controller.clock.now(), out.clock)
        return out
