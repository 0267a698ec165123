"""A running station server: gRPC on its address, health and reflection, control socket, admin socket of a simulation."""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from nightlab.errors import StationError, UsageError
from nightlab.records import TlsConfig
from robots import station_pb2_grpc as rpc
from robots import wire
from robots.admin_service import AdminService
from robots.cell import Cell
from robots.control_socket import ControlSocket
from robots.control_streams import ControlStreams
from robots.driver import Simulator
from robots.service import StationService
from robots.tokens import TokenInterceptor, Tokens

RPC_THREADS = 64
ESTOP_THREADS = 4
SOCKET_PATH_MAX = 107


class StationServer:
    """Serves a cell until `stop`.

    Args:
        cell: started already.
        address: `host:port` (port 0: any free one) or `unix:/path`.
        admin_socket: path of the admin socket, for simulated stations.
        simulator: what the admin socket drives.
        tls: mutual TLS: PEM files of this side, and the authority that signs those of clients; None: plain.
        tokens: who may do what; None: everybody everything.

    Raises:
        StationError: the address is taken or cannot be bound.
        UsageError: the TLS files are missing or no PEM.
    """

    def __init__(
        self,
        cell: Cell,
        address: str,
        admin_socket: Path | None = None,
        simulator: Simulator | None = None,
        *,
        tls: TlsConfig | None = None,
        tokens: Tokens | None = None,
    ) -> None:
        self._cell = cell
        self._tls, self._tokens = tls, tokens or Tokens()
        self._health = health.HealthServicer()
        streams = ControlStreams(cell)
        self._control_socket = ControlSocket(streams)
        self._service: Any = StationService(cell, streams, self._control_socket.name)
        self._servers: list[Any] = []
        self._files: list[Path] = []
        try:
            self.address = self._serve_station(address)
            if admin_socket is not None and simulator is not None:
                self._serve_admin(admin_socket, simulator)
        except BaseException:
            self._control_socket.close()
            raise
        for server in self._servers:
            server.start()
        for name in ("", "nightlab.v1.Station"):
            self._health.set(name, health_pb2.HealthCheckResponse.SERVING)

    def stop(self, grace_s: float = 1.0) -> None:
        """Refuse new calls, let running ones end, hold the robot."""
        self._health.enter_graceful_shutdown()
        self._control_socket.refuse()
        for event in [server.stop(grace_s) for server in self._servers]:
            event.wait(grace_s + 1.0)
        self._control_socket.close()
        self._cell.close()
        for path in self._files:
            path.unlink(missing_ok=True)

    def _serve_station(self, address: str) -> str:
        server = grpc.server(
            ThreadPoolExecutor(RPC_THREADS, thread_name_prefix="rpc"),
            interceptors=(TokenInterceptor(self._tokens),),
            options=wire.SERVER_OPTIONS,
        )
        service = self._service
        service.EStop = _with_threads(service.EStop)
        rpc.add_StationServicer_to_server(service, server)  # type: ignore[no-untyped-call]
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        names = ("nightlab.v1.Station", health.SERVICE_NAME, reflection.SERVICE_NAME)
        reflection.enable_server_reflection(names, server)
        if address.startswith("unix:"):
            _free_socket(Path(address.removeprefix("unix:")))
        port = _bind(server, address, _credentials(self._tls) if self._tls is not None else None)
        self._servers.append(server)
        if address.startswith("unix:"):
            self._files.append(Path(address.removeprefix("unix:")))
            return address
        return f"{address.rsplit(':', 1)[0]}:{port}"

    def _serve_admin(self, path: Path, simulator: Simulator) -> None:
        path = path.absolute()
        _free_socket(path)
        token = secrets.token_hex(32)
        token_file = token_path(path)
        token_file.unlink(missing_ok=True)
        with os.fdopen(os.open(token_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(token)
        server = grpc.server(ThreadPoolExecutor(4, thread_name_prefix="admin"), options=wire.SERVER_OPTIONS)
        admin = AdminService(self._cell, simulator, token)
        rpc.add_SimulatorAdminServicer_to_server(admin, server)  # type: ignore[no-untyped-call]
        mask = os.umask(0o077)
        try:
            _bind(server, f"unix:{path}")
        finally:
            os.umask(mask)
        os.chmod(path, 0o700)
        self._servers.append(server)
        self._files += [path, token_file]


def _with_threads(call: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """A call with threads of its own: however many others wait for a driver that hangs, it runs at once."""

    def work(request: Any, context: Any) -> Any:
        return call(request, context)

    work.experimental_thread_pool = ThreadPoolExecutor(ESTOP_THREADS, thread_name_prefix="estop")  # type: ignore[attr-defined]
    return work


def token_path(admin_socket: Path) -> Path:
    """Where the token of an admin socket lies."""
    return admin_socket.with_name(admin_socket.name + ".token")


def _credentials(tls: TlsConfig) -> Any:
    try:
        ca, certificate, key = (path.read_bytes() for path in (tls.ca, tls.certificate, tls.key))
    except OSError as error:
        raise UsageError(f"tls: {error.filename}: {error.strerror}. Make keys: nightlab station keys DIR") from error
    return grpc.ssl_server_credentials([(key, certificate)], root_certificates=ca, require_client_auth=True)


def _bind(server: Any, address: str, credentials: Any = None) -> int:
    try:
        port: int = (
            server.add_insecure_port(address) if credentials is None else server.add_secure_port(address, credentials)
        )
    except RuntimeError:
        port = 0
    if port == 0:
        raise StationError(
            f"the station cannot listen on {address}: taken by another process, or no such interface. "
            "Choose another, e.g. --address 127.0.0.1:0, or: nightlab down"
        )
    return port


def _free_socket(path: Path) -> None:
    """Remove a stale socket file; refuse one that somebody listens on."""
    if len(os.fsencode(path)) > SOCKET_PATH_MAX:
        raise StationError(
            f"socket path {path} is longer than {SOCKET_PATH_MAX} bytes; choose a lab nearer to the root"
        )
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not path.exists():
        return
    with contextlib.closing(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            path.unlink(missing_ok=True)
            return
    raise StationError(f"a station listens on {path} already. Stop it first: nightlab down")
