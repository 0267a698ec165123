"""What is particular to the control socket; that it carries streams as gRPC does, the other tests say."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from nightlab.contracts import Values
from nightlab.errors import LeaseError
from nightlab.framing import LENGTH
from nightlab.records import LimitsSpec, StationSpec
from robots import station_pb2 as pb
from robots import wire
from robots.client import StationClient
from robots.control_line import GrpcLine, SocketLine, open_line
from robots.control_streams import MAX_STREAMS
from robots.drivers.echo import EchoDriver
from robots.station import Station
from tests.robots.served_echo import served, with_client

RATE_HZ = 50.0


class Raw:
    """A client of the control socket that keeps no rule."""

    def __init__(self, name: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(10.0)
        self.socket.connect(f"\0{name}")

    def send(self, *requests: pb.ControlRequest) -> None:
        bodies = [request.SerializeToString() for request in requests]
        self.socket.sendall(b"".join(LENGTH.pack(len(body)) + body for body in bodies))

    def reply(self) -> pb.ControlReply | None:
        """None: the station has hung up."""
        head = self._read(LENGTH.size)
        return pb.ControlReply.FromString(self._read(LENGTH.unpack(head)[0])) if head else None

    def _read(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            part = self.socket.recv(size - len(data))
            if not part:
                return b""
            data += part
        return data


def opening(token: str) -> pb.ControlRequest:
    return pb.ControlRequest(open=pb.ControlRequest.Open(token=token, label="raw"))


def stepping(*values: float, film: bool = False) -> pb.ControlRequest:
    request = pb.ControlRequest(film=film)
    for value in values:
        wire.pack_values({"target": np.full(6, value)}, request.step.actions.add())
    return request


@pytest.fixture
def cell(tmp_path: Path) -> Iterator[tuple[Station, EchoDriver]]:
    with served(tmp_path, rate_hz=RATE_HZ) as station:
        yield station


def leased(station: Station) -> tuple[str, str]:
    """Token of a lease, and the name of the control socket."""
    spec: StationSpec = station.cell.driver.spec()
    limits: LimitsSpec = spec.limits
    granted = station.cell.acquire("t", "raw", limits, 60.0, 0.0, lambda: True)
    assert granted is not None
    return granted.token, station.server._control_socket.name


def test_a_client_on_this_host_takes_the_socket_and_any_other_takes_grpc(cell: tuple[Station, EchoDriver]) -> None:
    async def check(client: StationClient) -> None:
        lease = await client.lease("t", (await client.describe()).limits)
        async with client.control(lease) as session:
            assert isinstance(session._line, SocketLine)
        known = client._control_socket
        for name in ("", known + "0", "somebody-elses"):
            line = await open_line(client._channel, client._stub, name)
            assert isinstance(line, GrpcLine), f"{name!r}: no control socket of a station"
            await line.close()
        client._control_socket = known + "0"  # as on another host, or in another network namespace
        async with client.control(lease) as session:
            assert (await session.hold()).flags.reason == ""

    with_client(cell[0].address, check)


def test_a_client_that_dies_in_its_chunk_stops_the_robot_at_once(cell: tuple[Station, EchoDriver]) -> None:
    station, driver = cell
    token, name = leased(station)
    raw = Raw(name)
    raw.send(opening(token))
    raw.reply()
    raw.send(stepping(*[0.01 * number for number in range(64)]))
    while driver.commands < 5:
        time.sleep(0.01)
    raw.socket.close()
    died_s = time.monotonic()
    time.sleep(1.0)
    assert driver.last_command_s - died_s < 3 / RATE_HZ + 0.05, "3 control periods and 50 ms"
    assert driver.commands < 64, "the rest of the chunk did not run"
    assert station.cell.label == "", "the stream is closed"


def test_a_second_request_before_the_answer_ends_the_stream(cell: tuple[Station, EchoDriver]) -> None:
    station, driver = cell
    token, name = leased(station)
    raw = Raw(name)
    raw.send(opening(token))
    raw.reply()
    raw.send(stepping(*[0.01] * 64), stepping(0.02))
    while (reply := raw.reply()) is not None and not reply.error:
        pass
    assert reply is not None
    assert reply.error == "a control stream takes one request at a time; the robot holds"
    while raw.reply() is not None:
        pass
    commands = driver.commands
    time.sleep(0.3)
    assert driver.commands == commands < 64, "and the robot holds"


@pytest.mark.parametrize(
    ("sent", "kind", "says"),
    [
        (b"\xff\xff\xff\xff", "StationError", "a message of 4294967295 bytes on a control stream"),
        (LENGTH.pack(3) + b"\xff\xff\xff", "StationError", "is no ControlRequest"),
        (LENGTH.pack(0), "SafetyError", "the first message of a control stream is `open`"),
    ],
)
def test_what_is_no_request_is_refused_in_words(
    cell: tuple[Station, EchoDriver], sent: bytes, kind: str, says: str
) -> None:
    raw = Raw(leased(cell[0])[1])
    raw.socket.sendall(sent)
    reply = raw.reply()
    assert reply is not None
    assert reply.error_kind == kind
    assert says in reply.error
    assert raw.reply() is None, "the station has hung up"


def test_a_wrong_or_dead_lease_opens_nothing(cell: tuple[Station, EchoDriver]) -> None:
    station, driver = cell
    token, name = leased(station)
    for _ in range(2):
        raw = Raw(name)
        raw.send(opening("0" * 32))
        reply = raw.reply()
        assert reply is not None
        assert reply.error_kind == LeaseError.__name__
    raw = Raw(name)
    raw.send(opening(token))
    assert raw.reply() is not None
    station.cell.release(token)
    raw.send(stepping(0.01))
    reply = raw.reply()
    assert reply is not None
    assert reply.error_kind == LeaseError.__name__
    assert raw.reply() is None, "the stream is over"
    assert driver.commands == 0


def test_streams_have_a_number_silent_ones_included(cell: tuple[Station, EchoDriver]) -> None:
    token, name = leased(cell[0])
    silent = [Raw(name) for _ in range(MAX_STREAMS)]
    time.sleep(0.3)
    raw = Raw(name)
    reply = raw.reply()
    assert reply is not None
    assert reply.error == f"{MAX_STREAMS} control streams are open; close one"
    for other in silent:
        other.socket.close()
    time.sleep(0.3)
    raw = Raw(name)
    raw.send(opening(token))
    reply = raw.reply()
    assert reply is not None
    assert (reply.error, len(reply.observations)) == ("", 1)


def test_a_client_that_reads_nothing_holds_up_nobody(tmp_path: Path) -> None:
    with served(tmp_path, config={"speed": 0, "joints": 64}) as (station, _):
        token, name = leased(station)
        raw = Raw(name)
        raw.send(opening(token))
        raw.reply()
        request = pb.ControlRequest()
        for _ in range(64):
            wire.pack_values({"target": np.zeros(64)}, request.step.actions.add())
        raw.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        seen: list[float] = []

        def look() -> None:
            while len(seen) < 20:
                begin = time.monotonic()
                station.cell.observe()
                seen.append(time.monotonic() - begin)
                time.sleep(0.01)

        looking = threading.Thread(target=look)
        looking.start()
        try:
            for _ in range(
                40
            ):  # some 4 MB of answers, more than the socket holds; in the end it is not lockstep any more
                raw.send(request)
                time.sleep(0.02)
        except OSError:
            pass
        looking.join()
        assert max(seen) < 1.0, "the control thread never waited for this client"
        deadline = time.monotonic() + 15
        while station.cell.label and time.monotonic() < deadline:
            time.sleep(0.1)
        assert station.cell.label == "", "and its stream ends"


def test_a_server_that_ends_hangs_up_and_leaves_no_thread(tmp_path: Path) -> None:
    before = set(threading.enumerate())
    with served(tmp_path) as (station, _):
        token, name = leased(station)
        raw = Raw(name)
        raw.send(opening(token))
        raw.reply()
    assert raw.reply() is None
    with pytest.raises(ConnectionRefusedError):
        Raw(name)
    deadline = time.monotonic() + 5
    names = ("control-socket", "control-stream", "control-slow")
    while left := [t.name for t in set(threading.enumerate()) - before if t.name.startswith(names)]:
        assert time.monotonic() < deadline, f"still there: {left}"
        time.sleep(0.05)


def test_a_filmed_step_comes_with_its_pictures_in_order(cell: tuple[Station, EchoDriver]) -> None:
    async def check(client: StationClient) -> None:
        lease = await client.lease("t", (await client.describe()).limits)
        chunk: list[Values] = [{"target": np.full(6, 0.01 * number)} for number in range(8)]
        async with client.control(lease) as session:
            plain = await session.step(chunk)
            filmed = await session.step(chunk[::-1], film=True)
            again = await session.step(chunk)
        seqs = [seen.seq for seen in (*plain, *filmed, *again)]
        assert seqs == list(range(seqs[0], seqs[0] + 24))

    with_client(cell[0].address, check)
