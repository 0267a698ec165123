"""Camera `opencv`: anything that `cv2.VideoCapture` opens, by index, device path, video file or URL.

cameras:
  top: {driver: opencv, config: {index_or_path: /dev/video0, width_px: 640, height_px: 480, rate_hz: 30}}
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from nightlab.errors import StationError
from nightlab.records import CameraSpec, Intrinsics, Record
from robots.drivers.frame_reader import FrameReader, Picture
from robots.drivers.options import read_options
from robots.drivers.scaling import square

FIND: Final = "See what there is: lerobot-find-cameras opencv"


class OpenCvOptions(Record):
    """The `config` section of a camera `opencv`."""

    index_or_path: int | str
    """Index, device (prefer /dev/v4l/by-id/…: it survives a replugging), video file (its path starts at the folder of
    station.yaml), or URL."""
    width_px: int | None = Field(default=None, gt=0)
    """None: what the device gives."""
    height_px: int | None = Field(default=None, gt=0)
    rate_hz: float | None = Field(default=None, gt=0)
    fourcc: str = Field(default="", pattern="^(.{4})?$")
    """Pixel format to ask for, e.g. MJPG."""
    max_age_s: float = Field(default=0.5, gt=0)
    """An older picture is refused."""
    max_resets: int = Field(default=2, ge=0)
    """How often a silent device is opened anew, while the server runs; then a person must look."""
    loop: bool = False
    """A video file begins anew at its end."""
    intrinsics: Intrinsics | None = None
    """From your own calibration (cv2.calibrateCamera); such cameras do not know theirs."""
    description: str = ""


def open_camera(key: str, config: Mapping[str, Any], folder: Path = Path()) -> OpenCvCamera:
    """The camera of `station.yaml`, which lies in `folder`.

    Raises:
        UsageError: settings that it does not take.
        StationError: no such camera, or it gives other pictures than asked for.
    """
    options = read_options(OpenCvOptions, config, f"camera {key!r}")
    path = folder / str(options.index_or_path)
    if isinstance(options.index_or_path, str) and os.path.isfile(path):
        options = options.model_copy(update={"index_or_path": str(path)})
    return OpenCvCamera(key, options)


class OpenCvCamera:
    """Implements `robots.driver.Camera`."""

    def __init__(self, key: str, options: OpenCvOptions) -> None:
        self._options = options
        self._name = f"camera {key!r} ({options.index_or_path})"
        self._is_file = isinstance(options.index_or_path, str) and os.path.isfile(options.index_or_path)
        self._count = 0
        self._capture = self._open()
        self._period_s = 1.0 / (options.rate_hz or self._capture.get(5) or 30.0)  # 5: CAP_PROP_FPS
        self._due_s = 0.0
        fix = "Is it plugged in, and does nobody else use it? " + FIND
        self._reader = FrameReader(
            self._name, self._grab, reset=None if self._is_file else self._open_anew, max_age_s=options.max_age_s,
            resets=options.max_resets, fix=fix,
        )  # fmt: skip
        try:
            first = self._reader.start()
            height, width = first.rgb.shape[:2]
            asked = (options.width_px or width, options.height_px or height)
            if asked != (width, height):
                raise StationError(
                    f"{self._name} gives {width} x {height} px, asked were {asked[0]} x {asked[1]}. Ask for a size that "
                    f"it has, or leave width_px and height_px out. {FIND}"
                )
        except StationError:
            self.close()
            raise
        self._spec = CameraSpec(
            key=key, width_px=width, height_px=height, description=options.description, intrinsics=options.intrinsics
        )

    def spec(self) -> CameraSpec:
        return self._spec

    @property
    def age_s(self) -> float:
        """Age of the newest picture."""
        return self._reader.age_s

    def render(self, size_px: int | None = None) -> NDArray[np.uint8]:
        """The newest picture. Raises StationError if it is stale."""
        return square(self._reader.newest().rgb, size_px)

    def render_depth(self) -> NDArray[np.float32] | None:
        """None: it has no depth."""
        return None

    def close(self) -> None:
        """Stop reading and free the device."""
        self._reader.close()
        self._capture.release()

    def _open(self) -> Any:
        import cv2

        options = self._options
        capture = cv2.VideoCapture(options.index_or_path)
        if not capture.isOpened():
            there = ", ".join(sorted(str(path) for path in Path("/dev").glob("video*"))) or "none"
            raise StationError(f"{self._name} cannot be opened; video devices here: {there}. {FIND}")
        if not self._is_file:
            capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
            if options.fourcc:
                capture.set(cv2.CAP_PROP_FOURCC, float(cv2.VideoWriter.fourcc(*options.fourcc)))
            for name, value in (
                (cv2.CAP_PROP_FRAME_WIDTH, options.width_px),
                (cv2.CAP_PROP_FRAME_HEIGHT, options.height_px),
                (cv2.CAP_PROP_FPS, options.rate_hz),
            ):
                if value:
                    capture.set(name, float(value))
        return capture

    def _open_anew(self) -> None:
        self._capture.release()
        self._capture = self._open()

    def _grab(self) -> Picture | None:
        import cv2

        if self._is_file:  # a file gives its pictures as fast as one asks
            time.sleep(max(0.0, self._due_s - time.monotonic()))
            self._due_s = time.monotonic() + self._period_s
        ok, bgr = self._capture.read()
        if not ok and self._is_file and self._options.loop:
            self._capture.set(cv2.CAP_PROP_POS_FRAMES, 0)
            ok, bgr = self._capture.read()
        if not ok:
            time.sleep(0.05)
            return None
        self._count += 1
        return Picture(np.ascontiguousarray(bgr[..., ::-1]), None, self._count)
