"""Fuzzed and replayed messages, over gRPC and the control socket: no crash, no motion outside the limits, a wrong token or
a dead lease is refused.

`make test` sends 2,500 messages; the slow test sends 100,000. Every number and every byte comes from one seed, so that a
failure repeats. Nothing here uses our client: the bytes go onto the wire as they are.
"""

from __future__ import annotations

import contextlib
import os
import random
import socket
import struct
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from nightlab.contracts import Values
from nightlab.framing import LENGTH, pack_message
from nightlab.records import CellConfig
from robots import station_pb2 as pb
from robots.control_line import Answer
from robots.control_wire import pack_open, unpack_reply
from robots.drivers.echo import EchoDriver
from robots.keys import make_keys
from robots.station import Station
from robots.tokens import TOKEN_KEY

UNARY = (
    "Describe", "AcquireLease", "RenewLease", "ReleaseLease", "Observe", "MoveToPose", "Home", "Grasp", "Release",
    "ApplyForce", "GetJointStates", "Capture", "EStop", "ClearEStop", "Stats",
)  # fmt: skip
NEEDS_LEASE = ("RenewLease", "MoveToPose", "Home", "Grasp", "Release", "ApplyForce")
SIZE, STEP_rad, SOFT_rad = 6, 0.05, 1.0
BATCH = 250
"""Messages between two looks at whether the station still serves."""


class WatchedDriver(EchoDriver):
    """Counts every command that leaves the limits: it must be none."""

    outside = 0
    while_stopped = 0

    def step(self, action: Values) -> None:
        target = np.asarray(action["target"])
        inside = target.shape == (SIZE,) and np.isfinite(target).all() and np.abs(target).max() <= SOFT_rad + 1e-12
        if not inside or np.abs(target - self.state).max() > STEP_rad + 1e-9:
            self.outside += 1
        self.while_stopped += not self.powered
        super().step(action)


class Attacker:
    """Sends bytes to one station.

    Args:
        address: of the station.
        token: this holder's own, a right one.
        dice: every choice.
    """

    def __init__(self, address: str, token: str, dice: random.Random) -> None:
        self.dice = dice
        self.token = token
        self.channel = grpc.insecure_channel(address)
        self.sent = 0
        self.codes: Counter[str] = Counter()
        self.lease = self.control_socket = ""
        self.dead_leases = ["", "0" * 32, "ÿ" * 40]

    def unary(self, method: str, data: bytes, metadata: Any = None, timeout_s: float = 10.0) -> str:
        """One call; returns its status."""
        self.sent += 1
        try:
            self.reply = self.channel.unary_unary(f"/nightlab.v1.Station/{method}")(
                data, timeout=timeout_s, metadata=self._metadata() if metadata is None else metadata
            )
            code = "OK"
        except grpc.RpcError as error:
            code = error.code().name  # type: ignore[attr-defined]
        self.codes[code] += 1
        return code

    def stream(self, messages: list[bytes], metadata: Any = None) -> tuple[list[pb.ControlReply], str]:
        """One control stream; returns its replies and its status."""
        self.sent += len(messages)
        replies: list[pb.ControlReply] = []
        call = self.channel.stream_stream("/nightlab.v1.Station/Control")(
            iter(messages), timeout=20.0, metadata=self._metadata() if metadata is None else metadata
        )
        try:
            for data in call:
                replies.append(pb.ControlReply.FromString(data))
            code = "OK"
        except grpc.RpcError as error:
            code = error.code().name  # type: ignore[attr-defined]
        self.codes[code] += 1
        return replies, code

    def local(self, messages: list[bytes]) -> list[Answer]:
        """A stream over the control socket, in lockstep; a reply that ends it is the last."""
        replies: list[Answer] = []
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection, contextlib.suppress(ConnectionError):
            connection.settimeout(20.0)
            connection.connect(f"\0{self.control_socket}")
            with connection.makefile("rb") as answers:
                for data in messages:
                    self.sent += 1
                    connection.sendall(LENGTH.pack(len(data)) + data)
                    head = answers.read(LENGTH.size)
                    if not head:
                        break
                    replies.append(unpack_reply(answers.read(LENGTH.unpack(head)[0])))
        self.codes[f"socket {replies[-1].error_kind or 'OK'}" if replies else "socket hung up"] += 1
        return replies

    def acquire(self) -> None:
        """A right lease, unless there is one."""
        limits = pb.DescribeReply.FromString(self._ok("Describe", b"")).spec_json
        from nightlab.records import StationSpec

        ask = pb.AcquireLeaseRequest(
            ticket=f"t{self.sent}", holder="fuzz", ttl_s=60.0,
            limits_json=StationSpec.model_validate_json(limits).limits.model_dump_json(),
        )  # fmt: skip
        granted = pb.AcquireLeaseReply.FromString(self._ok("AcquireLease", ask.SerializeToString()))
        self.lease, self.control_socket = granted.token, granted.control_socket

    def release(self) -> None:
        """Give it back; its token is dead from here on."""
        self._ok("ReleaseLease", pb.LeaseRequest(token=self.lease).SerializeToString())
        self.dead_leases.append(self.lease)
        self.lease = ""

    def request(self, method: str, lease: str) -> Any:
        """A request of the right form with numbers that are anything."""
        dice = self.dice
        match method:
            case "RenewLease" | "ReleaseLease" | "Home":
                return pb.LeaseRequest(token=lease)
            case "MoveToPose":
                return pb.MoveToPoseRequest(token=lease, pose=self.numbers(dice.choice((SIZE, SIZE, 0, 3, 200))))
            case "Grasp":
                return pb.GraspRequest(
                    token=lease, width_m=self.number(), force_N=self.number(), arm=dice.choice(("", "left"))
                )
            case "Release":
                return pb.ReleaseRequest(token=lease, arm=dice.choice(("", "right", "x" * 1000)))
            case "ApplyForce":
                return pb.ApplyForceRequest(
                    token=lease, wrench=self.numbers(dice.choice((6, 0, 5))), duration_s=self.number()
                )
            case "AcquireLease":
                json = dice.choice(("", "{}", "[]", '{"action_low": {"target": [0]}}', "\0", "9" * 5000))
                return pb.AcquireLeaseRequest(
                    ticket="f", holder="x", limits_json=json, ttl_s=self.number(),
                    wait_s=dice.choice((0.0, -1.0, float("nan"))),
                )  # fmt: skip
            case "Capture":
                return pb.CaptureRequest(camera=dice.choice(("", "top", "../../etc/passwd", "\n")))
            case "EStop":
                return pb.EStopRequest(reason=dice.choice(("", "fuzz", "\0\n" * 50, "x" * 100_000)))
            case _:
                return pb.Empty()

    def step(self) -> Any:
        """A step of the right form with numbers, shapes, keys and lengths that are anything."""
        dice, request = self.dice, pb.ControlRequest(film=self.dice.random() < 0.01)
        if dice.random() < 0.1:
            request.hold.SetInParent()
            return request
        request.step.SetInParent()
        for _ in range(dice.choice((1, 1, 2, 8, 64, 65, 0))):
            channels = request.step.actions.add().channels
            tame = dice.random() < 0.7
            values = (
                [dice.uniform(-1.1, 1.1) for _ in range(SIZE)]
                if tame
                else self.numbers(dice.choice((SIZE, SIZE, 0, 7)))
            )
            array = channels["target" if tame or dice.random() < 0.8 else dice.choice(("", "targets", "state"))]
            array.data = struct.pack(f"<{len(values)}d", *values)[: None if dice.random() < 0.97 else -1]
            if not tame and dice.random() < 0.3:
                array.shape.extend([dice.choice((-1, 0, 1, 2, 6, 2**31 - 1)) for _ in range(dice.choice((1, 2, 40)))])
                array.scalar = dice.random() < 0.3
        return request

    def local_step(self) -> bytes:
        """The same for the control socket."""
        dice = self.dice
        if dice.random() < 0.1:
            return pack_message(["hold", dice.choice((True, False, 1))])
        actions: list[object] = []
        for _ in range(dice.choice((1, 1, 2, 8, 64, 65, 0))):
            tame = dice.random() < 0.7
            values = (
                [dice.uniform(-1.1, 1.1) for _ in range(SIZE)]
                if tame
                else self.numbers(dice.choice((SIZE, SIZE, 0, 7)))
            )
            shape: object = [len(values)]
            if not tame and dice.random() < 0.3:
                shape = dice.choice(([], [-1], [1, 6], [2**62, 2], [6.0], "6", [1] * 40, [True], None))
            data = struct.pack(f"<{len(values)}d", *values)[: None if dice.random() < 0.97 else -1]
            key = "target" if tame or dice.random() < 0.8 else dice.choice(("", "targets", 5, b"target"))
            actions.append({key: [shape, data]} if dice.random() < 0.98 else dice.choice((None, [], {}, {"target": 0})))
        return pack_message(["step", actions, dice.random() < 0.01])

    def numbers(self, size: int) -> list[float]:
        """Anything that a double can be."""
        return [self.number() for _ in range(size)]

    def number(self) -> float:
        """Anything that a double can be."""
        return self.dice.choice(
            (0.0, 0.5, -0.5, 1.0, 1.0 + 1e-15, -1.5, 1e-320, 1e308, -1e308, float("nan"), float("inf"), float("-inf"),
             self.dice.uniform(-2, 2))
        )  # fmt: skip

    def mangled(self, data: bytes) -> bytes:
        """Some bits flipped, some bytes cut, doubled or put in."""
        out = bytearray(data or b"\0")
        for _ in range(self.dice.choice((1, 1, 2, 8))):
            at = self.dice.randrange(len(out)) if out else 0
            match self.dice.randrange(4):
                case 0 if out:
                    out[at] ^= 1 << self.dice.randrange(8)
                case 1:
                    del out[at:]
                case 2:
                    out[at:at] = self.dice.randbytes(self.dice.choice((1, 2, 300)))
                case _:
                    out += out[at:]
        return bytes(out[:200_000])

    def _metadata(self) -> Any:
        return ((TOKEN_KEY, self.token),)

    def _ok(self, method: str, data: bytes) -> bytes:
        assert self.unary(method, data) == "OK", f"{method} with right keys and lease must be served"
        return bytes(self.reply)


@pytest.fixture
def cell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Station, WatchedDriver, str, str]]:
    """A station with tokens, joint limits and a driver that watches; its driver, a holder's token, the operator's."""
    monkeypatch.setattr("robots.drivers.echo.EchoDriver", WatchedDriver)
    make_keys(tmp_path / "k", [], ["lab-a"])
    joints = {
        "hard_low": [-2] * SIZE,
        "soft_low": [-SOFT_rad] * SIZE,
        "soft_high": [SOFT_rad] * SIZE,
        "hard_high": [2] * SIZE,
    }
    config = CellConfig.model_validate(
        {
            "station": "fuzzed", "driver": "echo", "config": {"joints": SIZE, "max_step_rad": STEP_rad, "speed": 0},
            "limits": {"joints": {"joint": {**joints, "command": "target"}}, "grippers": [{"max_force_N": 20}]},
            "tokens": tmp_path / "k/server/tokens.yaml", "folder": tmp_path, "state_dir": "state",
        }
    )  # fmt: skip
    station = Station(config, latch_file=tmp_path / "latch")
    driver: Any = station.cell.driver
    while not isinstance(driver, WatchedDriver):
        driver = driver.inner
    try:
        yield station, driver, *((tmp_path / "k" / name / "token").read_text() for name in ("lab-a", "operator"))
    finally:
        station.stop(0.2)


def attack(cell: tuple[Station, WatchedDriver, str, str], n: int, seed: int = 1) -> Attacker:
    """Send n messages, in batches: without any right token, with dead leases, then as a holder gone mad."""
    station, driver, token, operator = cell
    attacker = Attacker(station.address, token, random.Random(seed))
    while attacker.sent < n:
        strangers(attacker, driver)
        station.cell.controller.clear()
        dead_leases(attacker, driver)
        mad_holder(attacker, station, driver)
        assert driver.outside == 0, "no command left the limits"
        assert driver.while_stopped == 0, "no command ran while the station was latched"
        assert attacker.unary("ClearEStop", b"") == "UNAUTHENTICATED", "a holder is no operator"
        assert attacker.unary("ClearEStop", b"", ((TOKEN_KEY, operator),)) == "OK"
        assert attacker.unary("Describe", b"") == "OK", "the station still serves"
        assert station.cell.controller.alive, "its control thread lives"
    return attacker


def strangers(attacker: Attacker, driver: WatchedDriver) -> None:
    """Wrong or missing tokens: everything but the e-stop is refused, and nothing moves."""
    before, dice = driver.commands, attacker.dice
    for _ in range(BATCH):
        wrong = dice.choice((b"", b"0" * 64, attacker.token[:-1].encode(), attacker.token.upper().encode()[::-1]))
        metadata = ((TOKEN_KEY, wrong.decode()),) if wrong else ()
        method = dice.choice(UNARY)
        data = attacker.request(method, attacker.lease).SerializeToString()
        data = attacker.mangled(data) if dice.random() < 0.5 else data
        code = attacker.unary(method, data, metadata)
        if method != "EStop":
            assert code in ("UNAUTHENTICATED", "INTERNAL"), f"{method} without a right token: {code}"
    opened = pb.ControlRequest(open=pb.ControlRequest.Open(token=attacker.lease)).SerializeToString()
    replies, code = attacker.stream([opened, *(attacker.step().SerializeToString() for _ in range(10))], ())
    assert (replies, code) == ([], "UNAUTHENTICATED")
    if attacker.control_socket:  # its name from an earlier lease
        opened = pack_open(attacker.lease, "")
        (refused,) = attacker.local([opened, *(attacker.local_step() for _ in range(10))])
        assert refused.error_kind == "LeaseError"
    assert driver.commands == before, "nothing moved for a stranger"


def dead_leases(attacker: Attacker, driver: WatchedDriver) -> None:
    """A right token, and leases that are wrong, released or lapsed: replays of what was right once."""
    attacker.acquire()
    opened = pb.ControlRequest(open=pb.ControlRequest.Open(token=attacker.lease)).SerializeToString()
    steps = [attacker.step().SerializeToString() for _ in range(20)]
    recorded = [opened, *steps]
    attacker.stream(recorded)
    local = [pack_open(attacker.lease, ""), *(attacker.local_step() for _ in range(20))]
    attacker.local(local)
    moves = {name: attacker.request(name, attacker.lease).SerializeToString() for name in NEEDS_LEASE}
    for name, data in moves.items():
        attacker.unary(name, data)
    attacker.release()
    before = driver.commands
    for number in range(BATCH):
        method = attacker.dice.choice(NEEDS_LEASE)
        data = moves[method]
        if number % 3:
            data = attacker.request(method, attacker.dice.choice(attacker.dead_leases)).SerializeToString()
        code = attacker.unary(method, data)
        assert code == "PERMISSION_DENIED", f"{method} with a dead lease: {code}"
    for _ in range(5):
        replies, code = attacker.stream(recorded)
        assert (replies, code) == ([], "PERMISSION_DENIED"), "a replayed stream is refused at its first message"
        (refused,) = attacker.local(local)
        assert refused.error_kind == "LeaseError", "over the control socket, too"
    assert driver.commands == before, "nothing moved for a dead lease"


def mad_holder(attacker: Attacker, station: Station, driver: WatchedDriver) -> None:
    """Right token and lease, and messages that are anything: whatever runs stays inside the limits."""
    attacker.acquire()
    dice = attacker.dice
    for _ in range(BATCH):
        method = dice.choice(tuple(name for name in UNARY if name not in ("EStop", "ReleaseLease")))
        data = attacker.request(method, attacker.lease).SerializeToString()
        data = dice.randbytes(dice.choice((0, 1, 40, 5000))) if dice.random() < 0.2 else data
        data = attacker.mangled(data) if dice.random() < 0.5 else data
        attacker.unary(method, data, timeout_s=2.5)
    for _ in range(3):
        opened = pb.ControlRequest(open=pb.ControlRequest.Open(token=attacker.lease, label="fuzz")).SerializeToString()
        messages = [attacker.step().SerializeToString() for _ in range(BATCH // 5)]
        some = [attacker.mangled(data) if dice.random() < 0.03 else data for data in messages]
        attacker.stream([opened if dice.random() < 0.9 else attacker.mangled(opened), *some])
    for _ in range(6):
        first, steps = pack_open(attacker.lease, "fuzz"), [attacker.local_step() for _ in range(BATCH // 5)]
        some = [attacker.mangled(data) if dice.random() < 0.03 else data for data in steps]
        attacker.local([first if dice.random() < 0.9 else attacker.mangled(first), *some])
    moved = driver.commands
    attacker.unary("EStop", attacker.request("EStop", "").SerializeToString(), ())
    assert station.cell.controller.estopped, "an e-stop needs no token, and latches"
    replies, code = attacker.stream([opened, *messages])
    assert (replies, code) == ([], "ABORTED"), "a latched station refuses"
    (refused,) = attacker.local([first, *steps])
    assert refused.error_kind == "EstopError", "over the control socket, too"
    assert attacker.unary("Home", attacker.request("Home", attacker.lease).SerializeToString()) == "ABORTED"
    assert driver.commands == moved, "and does not move"
    attacker.release()


def test_a_sample_of_messages(cell: tuple[Station, WatchedDriver, str, str]) -> None:
    attacker = attack(cell, 2500)
    assert attacker.codes["OK"] > 100, "the attack also reached what is allowed"
    assert cell[1].commands > 100, "and made the robot move"


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_hundred_thousand_messages(cell: tuple[Station, WatchedDriver, str, str]) -> None:
    """`python -m pytest -s -m slow tests/robots/test_fuzz.py` prints what came of it."""
    begin = time.monotonic()
    attacker = attack(cell, int(os.environ.get("NIGHTLAB_FUZZ_N", "100000")), seed=2)
    print(
        f"\n{attacker.sent} messages in {time.monotonic() - begin:.0f} s, {cell[1].commands} commands: {attacker.codes}"
    )
