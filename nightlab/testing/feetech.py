"""An emulated bus of Feetech STS3215 servos behind a pseudo-terminal: what an SO-101 is to whoever opens its port.

It speaks the servos' packets (ping, read, write, sync read, sync write, broadcast), so everything above the wire is
the real thing: LeRobot, Feetech's SDK, pyserial. Servos move at a finite speed, only under torque and within their
position limits. They run to whatever goal stands in their register as soon as torque comes on: the worst case.

    with EmulatedFeetechBus() as bus:
        driver = make({"port": bus.port, …})
"""

from __future__ import annotations

import os
import select
import threading
import time
import tty
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Self

PING, READ, WRITE, SYNC_READ, SYNC_WRITE = 1, 2, 3, 0x82, 0x83
BROADCAST: Final = 0xFE
MODEL: Final = 777
STEPS: Final = 4096
MIN_LIMIT, MAX_LIMIT, OFFSET, TORQUE, GOAL, LOCK, PRESENT, SPEED, VOLTAGE, MOVING = (
    9,
    11,
    31,
    40,
    42,
    55,
    56,
    58,
    62,
    66,
)
SPEED_steps_per_s: Final = 3000.0


@dataclass
class Servo:
    """One servo. `shaft` is the encoder's own count; the present position is `shaft` less the homing offset."""

    number: int
    shaft: float = 2047.0
    memory: bytearray = field(default_factory=lambda: bytearray(256))
    blocked_at: float | None = None
    """The shaft cannot go below this: something is in the way."""
    _moved_s: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self.memory[0:2] = bytes((3, 10))
        self.put(3, MODEL)
        self.memory[5], self.memory[VOLTAGE] = self.number, 120
        self.put(MAX_LIMIT, STEPS - 1)
        self.put(GOAL, 0)

    def word(self, address: int) -> int:
        """A two-byte register."""
        return self.memory[address] | self.memory[address + 1] << 8

    def put(self, address: int, value: int) -> None:
        """Set a two-byte register."""
        self.memory[address : address + 2] = bytes((value & 0xFF, value >> 8))

    @property
    def offset(self) -> int:
        """Homing offset: sign in bit 11."""
        raw = self.word(OFFSET)
        return -(raw & 0x7FF) if raw & 0x800 else raw & 0x7FF

    @property
    def position(self) -> float:
        """Present position, steps."""
        return self.shaft - self.offset

    @property
    def torque(self) -> bool:
        """Whether it holds."""
        return self.memory[TORQUE] == 1

    def advance(self) -> None:
        """Move towards the goal, for as long as has passed."""
        now = time.monotonic()
        passed_s, self._moved_s = now - self._moved_s, now
        if self.torque:
            goal = min(max(self.word(GOAL) & 0x7FFF, self.word(MIN_LIMIT)), self.word(MAX_LIMIT)) + self.offset
            reach = SPEED_steps_per_s * passed_s
            self.shaft += min(reach, max(-reach, goal - self.shaft))
        if self.blocked_at is not None:
            self.shaft = max(self.shaft, self.blocked_at)
        self.put(PRESENT, round(self.position) & 0x7FFF)


class EmulatedFeetechBus:
    """Servos 1 to `count` on a bus; `port` is its device. A context manager."""

    def __init__(self, count: int = 6) -> None:
        self.servos = {number: Servo(number) for number in range(1, count + 1)}
        self.writes: list[tuple[float, int, int, bytes]] = []
        """Every write: monotonic seconds, servo, address, data."""
        self.missing: set[int] = set()
        """Servos that do not answer: unplugged."""
        self.corrupt = 0
        """So many of the next answers come with a wrong checksum."""
        self.lost: dict[tuple[int, int], int] = {}
        """(servo, address) → so many of the next sync writes to it get lost: nobody acknowledges them."""
        self.status: dict[int, int] = {}
        """Servo → error bits that it reports with every answer, e.g. 32: overload."""
        self._ours, self._theirs = os.openpty()
        tty.setraw(self._theirs)
        self.port = os.ttyname(self._theirs)
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="feetech", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        self._thread.join(timeout=2.0)
        for end in (self._ours, self._theirs):
            os.close(end)

    def calibrate(self, ranges: Sequence[tuple[int, int, int]]) -> None:
        """Write (homing offset, lowest, highest) into the servos, as a calibration does."""
        for servo, (offset, low, high) in zip(self.servos.values(), ranges, strict=True):
            servo.put(OFFSET, abs(offset) | (0x800 if offset < 0 else 0))
            servo.put(MIN_LIMIT, low)
            servo.put(MAX_LIMIT, high)

    def written(self, address: int, since_s: float = 0.0) -> list[tuple[int, bytes]]:
        """(servo, data) of every write to an address since an instant."""
        return [(servo, data) for at, servo, where, data in self.writes if where == address and at >= since_s]

    def _run(self) -> None:
        buffer = bytearray()
        while not self._closing.is_set():
            if not select.select([self._ours], [], [], 0.05)[0]:
                continue
            buffer += os.read(self._ours, 4096)
            while (packet := _take(buffer)) is not None:
                self._obey(packet[0], packet[1], packet[2])

    def _obey(self, target: int, order: int, data: bytes) -> None:
        for servo in self.servos.values():
            servo.advance()
        if order == SYNC_READ:
            for number in data[2:]:
                self._read(number, data[0], data[1])
        elif order == SYNC_WRITE:
            address, length = data[0], data[1]
            for at in range(2, len(data), length + 1):
                if (left := self.lost.get((data[at], address), 0)) > 0:
                    self.lost[data[at], address] = left - 1
                else:
                    self._write(data[at], address, data[at + 1 : at + 1 + length])
        elif order == READ:
            self._read(target, data[0], data[1])
        elif order in (PING, WRITE):
            for number in list(self.servos) if target == BROADCAST else [target]:
                if order == WRITE:
                    self._write(number, data[0], data[1:])
                if order == PING or target != BROADCAST:
                    self._answer(number, b"")

    def _write(self, number: int, address: int, data: bytes) -> None:
        if number in self.servos and number not in self.missing:
            self.writes.append((time.monotonic(), number, address, bytes(data)))
            self.servos[number].memory[address : address + len(data)] = data

    def _read(self, number: int, address: int, length: int) -> None:
        if number in self.servos:
            self._answer(number, bytes(self.servos[number].memory[address : address + length]))

    def _answer(self, number: int, data: bytes) -> None:
        if number not in self.servos or number in self.missing:
            return
        body = bytes((number, len(data) + 2, self.status.get(number, 0))) + data
        check = ~sum(body) & 0xFF
        if self.corrupt > 0:
            self.corrupt -= 1
            check ^= 0x55
        os.write(self._ours, b"\xff\xff" + body + bytes((check,)))


def _take(buffer: bytearray) -> tuple[int, int, bytes] | None:
    """The next whole packet: (servo, instruction, parameters); what is no packet is dropped."""
    while True:
        start = buffer.find(b"\xff\xff")
        if start < 0 or len(buffer) < start + 4:
            return None
        del buffer[:start]
        whole = buffer[3] + 4
        if len(buffer) < whole:
            return None
        packet = bytes(buffer[:whole])
        if whole < 6 or (~sum(packet[2:-1]) & 0xFF) != packet[-1]:
            del buffer[0]
            continue
        del buffer[:whole]
        return packet[2], packet[4], packet[5:-1]
