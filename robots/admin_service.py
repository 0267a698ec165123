"""The simulator's admin face: teleport, truth, configure. On a Unix socket of its own, with a token."""

from __future__ import annotations

import hmac
from typing import Any

import grpc

from robots import station_pb2 as pb
from robots import station_pb2_grpc as rpc
from robots import wire
from robots.cell import Cell
from robots.driver import Simulator
from robots.service import guarded


class AdminService(rpc.SimulatorAdminServicer):
    """Implements service `nightlab.v1.SimulatorAdmin`."""

    def __init__(self, cell: Cell, simulator: Simulator, token: str) -> None:
        self._cell = cell
        self._simulator = simulator
        self._token = token

    def Teleport(self, request: pb.TeleportRequest, context: Any) -> pb.Empty:
        self._authorise(context)
        start, seed = dict(request.start), request.episode_seed

        def work() -> None:
            self._cell.controller.check_estop()
            self._cell.exclusive("teleport", lambda: self._simulator.teleport(start, seed))

        guarded(context, work)
        return pb.Empty()

    def Truth(self, request: pb.Empty, context: Any) -> pb.TruthReply:
        self._authorise(context)
        truth = guarded(context, lambda: self._cell.controller.call(self._simulator.truth, quick=True))
        return pb.TruthReply(values=truth)

    def Configure(self, request: pb.ConfigureRequest, context: Any) -> pb.Empty:
        self._authorise(context)
        seed = request.station_seed if request.HasField("station_seed") else None
        guarded(
            context, lambda: self._cell.exclusive("configure", lambda: self._simulator.configure(request.profile, seed))
        )
        return pb.Empty()

    def _authorise(self, context: Any) -> None:
        given = dict(context.invocation_metadata()).get(wire.ADMIN_TOKEN_KEY, "")
        if not hmac.compare_digest(str(given), self._token):
            context.abort(grpc.StatusCode.UNAUTHENTICATED, "wrong or missing token of the simulator's admin socket")
