"""The thread that reads a camera, so that nobody waits for its next picture; and what happens when none comes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from nightlab.errors import StationError

FIRST_s: Final = 10.0
"""How long a camera may take to its first picture."""
BACK_s: Final = 3.0
"""How long a camera may take to a picture after it was started or reset, before it is reset (again)."""
AGAIN: Final = "start the station again: nightlab station serve station.yaml"


@dataclass(frozen=True, slots=True)
class Picture:
    """What a camera saw: uint8 [height, width, 3] RGB; depth float32 [height, width] metres aligned to it, or None."""

    rgb: NDArray[np.uint8]
    depth_m: NDArray[np.float32] | None = None
    number: int = 0
    """The device's own count; a picture that comes twice has the same number, and counts once."""


class FrameReader:
    """Keeps the newest picture. A camera that falls silent is reset, a bounded number of times.

    Args:
        name: Camera as errors name it, e.g. `camera 'top' (realsense 123)`.
        grab: Waits for the next picture, a second at most; None: none came. Runs on the reader's thread.
        reset: Resets the device and starts it again; may raise StationError. Runs on the reader's thread.
        max_age_s: An older picture is stale: `newest` refuses it.
        resets: How often the device may be reset before a person must look.
        fix: What a person should do, for the error.
    """

    def __init__(
        self,
        name: str,
        grab: Callable[[], Picture | None],
        *,
        reset: Callable[[], None] | None = None,
        max_age_s: float,
        resets: int = 0,
        fix: str,
    ) -> None:
        self._name, self._grab, self._reset, self._fix = name, grab, reset, fix
        self._max_age_s = max_age_s
        self._resets_left = resets if reset is not None else 0
        self.resets = 0
        """How often the device was reset."""
        self._picture: Picture | None = None
        self._seen_s = self._due_s = time.monotonic()
        """When the newest picture came, and when the next one must be here."""
        self._fault = ""
        self._arrived = threading.Condition()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._loop, name=name, daemon=True)

    def start(self, first_s: float = FIRST_s) -> Picture:
        """Start the thread and wait for the first picture. Raises StationError; then nothing runs any more."""
        self._due_s = time.monotonic() + (BACK_s if self._resets_left else first_s)
        self._thread.start()
        with self._arrived:
            self._arrived.wait_for(lambda: self._picture is not None or self._fault, first_s)
            if self._picture is not None:
                return self._picture
        self.close()
        raise StationError(f"{self._name} gives no picture: {self._fault or f'none within {first_s:g} s'}. {self._fix}")

    @property
    def age_s(self) -> float:
        """Seconds since the newest picture came."""
        return time.monotonic() - self._seen_s

    def newest(self) -> Picture:
        """The newest picture.

        Raises:
            StationError: it is older than `max_age_s`, or the camera is closed: never a stale picture.
        """
        picture, age_s = self._picture, self.age_s
        if picture is None or self._closing.is_set():
            raise StationError(f"{self._name} is closed; {AGAIN}")
        if age_s > self._max_age_s:
            since = f", after {self.resets} resets" if self.resets else ""
            why = f" ({self._fault})" if self._fault else ""
            again = f" No reset is left; {AGAIN}" if self._reset is not None and self._resets_left <= 0 else ""
            raise StationError(
                f"{self._name}: its newest picture is {age_s:.1f} s old{since}, {self._max_age_s:g} s are allowed{why}. "
                f"{self._fix}{again}"
            )
        return picture

    def close(self) -> None:
        """Stop the thread. The device is the caller's to close, afterwards."""
        self._closing.set()
        if self._thread.is_alive() and threading.current_thread() is not self._thread:
            self._thread.join(timeout=3.0)

    def _loop(self) -> None:
        while not self._closing.is_set():
            try:
                picture = self._grab()
                if picture is not None and (self._picture is None or picture.number != self._picture.number):
                    with self._arrived:
                        self._picture, self._seen_s, self._fault = picture, time.monotonic(), ""
                        self._due_s = self._seen_s + max(1.0, self._max_age_s)
                        self._arrived.notify_all()
                    continue
            except Exception as error:  # a camera that was unplugged must not end its thread: it may come back
                self._fault = " ".join(str(error).split()) or type(error).__name__
                self._closing.wait(0.05)
            if time.monotonic() > self._due_s:
                self._try_reset()

    def _try_reset(self) -> None:
        if self._resets_left <= 0 or self._reset is None:
            with self._arrived:
                self._fault = self._fault or "it has fallen silent"
                self._arrived.notify_all()
            self._closing.wait(0.05)
            return
        self._resets_left -= 1
        self.resets += 1
        try:
            self._reset()
        except Exception as error:
            self._fault = f"reset failed: {' '.join(str(error).split())}"
        self._due_s = time.monotonic() + BACK_s
