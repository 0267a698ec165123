from __future__ import annotations

import time

import numpy as np
import pytest

from nightlab.errors import StationError
from robots.drivers import frame_reader
from robots.drivers.frame_reader import FrameReader, Picture
from tests.robots.waiting import until


class Device:
    """Gives `alive` pictures, then none; a reset brings `after_reset` more."""

    def __init__(self, alive: int, after_reset: int = 0) -> None:
        self.left, self.after_reset, self.number, self.resets = alive, after_reset, 0, 0

    def grab(self) -> Picture | None:
        time.sleep(0.002)
        if self.left <= 0:
            return None
        self.left -= 1
        self.number += 1
        return Picture(np.zeros((4, 6, 3), np.uint8), None, self.number)

    def reset(self) -> None:
        self.resets += 1
        self.left = self.after_reset


def stale(reader: FrameReader) -> bool:
    try:
        reader.newest()
    except StationError:
        return True
    return False


def test_a_silent_camera_is_reset_a_bounded_number_of_times(monkeypatch: pytest.MonkeyPatch) -> None:
    device = Device(alive=3, after_reset=0)
    reader = FrameReader("camera 'a'", device.grab, reset=device.reset, max_age_s=0.05, resets=2, fix="Plug it in.")
    monkeypatch.setattr(frame_reader, "BACK_s", 0.2)
    reader.start()
    assert until(lambda: device.resets == 2), "it is reset when it falls silent"
    time.sleep(0.3)
    assert device.resets == 2, "and no more often than allowed"
    with pytest.raises(
        StationError,
        match=r"camera 'a': its newest picture is .* s old, after 2 resets.*Plug it in\. No reset is left; start the station "
        "again: nightlab station serve",
    ):
        reader.newest()
    reader.close()


def test_after_a_reset_it_gets_time_to_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frame_reader, "BACK_s", 1.5)
    device = Device(alive=3)

    def reset() -> None:
        device.resets += 1
        back_s = time.monotonic() + 0.5
        device.grab = lambda: slow(back_s)  # type: ignore[method-assign]

    def slow(back_s: float) -> Picture | None:
        time.sleep(0.01)
        device.number += time.monotonic() > back_s
        return Picture(np.zeros((4, 6, 3), np.uint8), None, device.number)

    reader = FrameReader("camera 'a'", lambda: device.grab(), reset=reset, max_age_s=0.05, resets=2, fix="Plug it in.")
    reader.start()
    assert until(lambda: device.resets == 1 and not stale(reader))
    assert device.resets == 1, "one hiccup takes one reset"
    reader.close()


def test_a_reset_brings_it_back() -> None:
    device = Device(alive=3, after_reset=10**9)
    reader = FrameReader("camera 'a'", device.grab, reset=device.reset, max_age_s=0.2, resets=1, fix="Plug it in.")
    reader.start()
    assert until(lambda: device.resets == 1)
    assert until(lambda: not stale(reader)), "after the reset its pictures are fresh again"
    reader.close()


def test_the_same_picture_twice_is_not_a_new_one() -> None:
    frozen = Picture(np.zeros((4, 6, 3), np.uint8), None, 7)
    reader = FrameReader("camera 'a'", lambda: frozen, max_age_s=0.05, fix="Plug it in.")
    reader.start()
    assert until(lambda: stale(reader)), "a frozen camera is stale, however often it repeats itself"
    reader.close()


def test_no_first_picture_is_an_error_that_says_why() -> None:
    def broken() -> Picture | None:
        raise OSError("cable\n cut")

    reader = FrameReader("camera 'a'", broken, max_age_s=0.05, fix="Plug it in.")
    with pytest.raises(StationError, match=r"camera 'a' gives no picture: cable cut\. Plug it in\."):
        reader.start(5.0)
