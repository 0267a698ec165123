"""The e-stop hook: a small process that reads one button and tells the station server, on a socket of its own.

    python -m robots.estop_hook --socket PATH --keyboard /dev/input/event3 [--codes 28,57]
    python -m robots.estop_hook --socket PATH --gpio gpiochip0:17 [--normally-open]

Imports nothing but the standard library (and `gpiod` for a GPIO line), so it starts at once and shares nothing with
gRPC, physics or cameras. It says `beat` ten times within the server's patience; if it dies, or its button is unplugged,
the server stops the robot.
"""

from __future__ import annotations

import argparse
import os
import select
import socket
import struct
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

EVENT: Final = struct.Struct("llHHi")
"""Linux `struct input_event`: seconds, microseconds, type, code, value."""
EV_KEY: Final = 1
PRESSED: Final = 1
POLL_S: Final = 0.005
"""How often a GPIO line is read."""


class Keyboard:
    """An evdev device; `codes`: keys that stop, empty: every key."""

    name = "keyboard"

    def __init__(self, device: Path, codes: tuple[int, ...] = ()) -> None:
        self._file = os.open(device, os.O_RDONLY | os.O_NONBLOCK)
        self._codes = codes

    def pressed(self, wait_s: float) -> str:
        """What was pressed within `wait_s`; empty: nothing. Raises OSError when the device is gone."""
        if not select.select([self._file], [], [], wait_s)[0]:
            return ""
        data = os.read(self._file, EVENT.size * 64)
        if not data:
            raise OSError("end of the device")
        for at in range(0, len(data) - EVENT.size + 1, EVENT.size):
            _, _, kind, code, value = EVENT.unpack_from(data, at)
            if kind == EV_KEY and value == PRESSED and (not self._codes or code in self._codes):
                return f"e-stop key {code}"
        return ""


class GpioLine:
    """A line of a GPIO chip, with pull-up; pressed = open where the button is normally closed to ground."""

    name = "gpio"

    def __init__(self, chip: str, line: int, *, normally_closed: bool = True) -> None:
        gpiod: Any = __import__("gpiod")
        settings = gpiod.LineSettings(direction=gpiod.line.Direction.INPUT, bias=gpiod.line.Bias.PULL_UP)
        self._request = gpiod.request_lines(f"/dev/{chip}", consumer="nightlab e-stop", config={line: settings})
        self._line = line
        high, low = gpiod.line.Value.ACTIVE, gpiod.line.Value.INACTIVE
        self._stops = high if normally_closed else low
        self._what = f"e-stop line {chip}:{line}"

    def pressed(self, wait_s: float) -> str:
        """Whether the line says stop within `wait_s`; empty: no. Raises OSError when the chip is gone."""
        until_s = time.monotonic() + wait_s
        while time.monotonic() < until_s:
            if self._request.get_value(self._line) == self._stops:
                return self._what
            time.sleep(POLL_S)
        return ""


def watch(button: Any, send: Callable[[bytes], object], beat_s: float) -> None:
    """Beat and tell, until the button fails; then say so and return."""
    while True:
        try:
            send(f"beat {button.name}".encode())
            reason = button.pressed(beat_s)
        except OSError as error:
            send(f"stop the e-stop {button.name} is gone: {error}".encode())
            return
        if reason:
            send(f"stop {reason}".encode())
            time.sleep(POLL_S)


def main(arguments: list[str] | None = None) -> int:
    """Command line of the module; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m robots.estop_hook", description=__doc__)
    parser.add_argument("--socket", required=True)
    parser.add_argument("--keyboard", type=Path)
    parser.add_argument("--codes", default="")
    parser.add_argument("--gpio", default="", help="CHIP:LINE")
    parser.add_argument("--normally-open", action="store_true")
    parser.add_argument("--silent-s", type=float, default=0.5)
    asked = parser.parse_args(arguments)
    try:
        if asked.keyboard is not None:
            button: Any = Keyboard(asked.keyboard, tuple(int(code) for code in asked.codes.split(",") if code))
        else:
            chip, _, line = asked.gpio.partition(":")
            button = GpioLine(chip, int(line), normally_closed=not asked.normally_open)
    except ImportError:
        print("the GPIO hook needs gpiod: pip install gpiod (libgpiod's own Python package)", file=sys.stderr)
        return 2
    except (OSError, ValueError) as error:
        print(f"e-stop hook: {error}; see `estop` in docs/stations.md", file=sys.stderr)
        return 2
    sender = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    parent = os.getppid()

    def send(data: bytes) -> None:
        if os.getppid() != parent:
            sys.exit(0)  # the server is gone, and nothing moves without it
        try:
            sender.sendto(data, asked.socket)
        except (FileNotFoundError, ConnectionRefusedError):
            time.sleep(0.05)

    watch(button, send, asked.silent_s / 10)
    return 1


if __name__ == "__main__":
    sys.exit(main())
