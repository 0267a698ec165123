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
from nightlab.framing import LENGTH, encode, pack_message
from nightlab.records import LimitsSpec, StationSpec
from robots import control_wire
from robots.client import StationClient
from robots.control_line import Answer
from robots.control_streams import MAX_STREAMS
from robots.drivers.echo import EchoDriver
from robots.grpc_line import GrpcLine
from robots.socket_line import SocketLine
from robots.station import Station
from tests.robots.served_echo import served, with_client

RATE_HZ = 50.0


class Raw:
    """A client of the control socket that keeps no rule."""

    def __init__(self, name: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(10.0)
        self.socket.connect(f"\0{name}")

    def send(self, *bodies: bytes) -> None:
        self.socket.sendall(b"".join(LENGTH.pack(len(body)) + body for body in bodies))

    def reply(self) -> Answer | None:
        """None: the station has hung up."""
        head = self._read(LENGTH.size)
        return control_wire.unpack_reply(self._read(LENGTH.unpack(head)[0])) if head else None

    def _read(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            part = self.socket.recv(size - len(data))
            if not part:
                return b""
            data += part
        return data


def opening(token: str) -> bytes:
    return control_wire.pack_open(token, "raw")


def stepping(*values: float) -> bytes:
    return control_wire.pack_request([{"target": np.full(6, value)} for value in values], False)


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
        for name in ("", known + "0", "somebody-elses"):  # as on another host, or in another network namespace
            client._control_socket = name
            async with client.control(lease) as session:
                assert isinstance(session._line, GrpcLine), f"{name!r}: no control socket of a station"
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
        (LENGTH.pack(3) + b"\xc1\xc1\xc1", "StationError", "control stream: a frame of 3 bytes is no msgpack"),
        (encode(["hold", False]), "SafetyError", "the first message of a control stream is `open`"),
        (encode(7), "SafetyError", "the first message of a control stream is `open`"),
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


@pytest.mark.parametrize(
    ("body", "kind", "says"),
    [
        (["step", [{"target": [[6], b"short"]}], False], "SafetyError", "'target' has shape [6] and 5 bytes"),
        (["step", [{"target": [[2**40, 2**40], b""]}], False], "SafetyError", "the impossible shape"),
        (["step", [5], False], "SafetyError", "expected named arrays, got int; the robot held"),
        (["step", [], False], "SafetyError", "a chunk holds 1 to 64 actions, got 0"),
        (["open", "again", ""], "StationError", "after `open` a control stream takes `step` or `hold`"),
        (["step", {}, False], "StationError", "after `open` a control stream takes `step` or `hold`"),
    ],
)
def test_a_request_of_the_wrong_form_moves_nothing(
    cell: tuple[Station, EchoDriver], body: list[object], kind: str, says: str
) -> None:
    token, name = leased(cell[0])
    raw = Raw(name)
    raw.send(opening(token))
    raw.reply()
    raw.send(pack_message(body))
    reply = raw.reply()
    assert reply is not None
    assert reply.error_kind == kind
    assert says in reply.error
    if kind == "SafetyError":  # it goes on
        raw.send(control_wire.pack_request(None, False))
        assert (reply := raw.reply()) is not None
        assert (reply.error, reply.periods) == ("", 1)
    else:
        assert raw.reply() is None, "the stream is over"
    assert not cell[1].state.any(), "nothing moved"


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
        request = control_wire.pack_request([{"target": np.zeros(64)}] * 64, False)
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
