"""Camera `realsense`: colour and depth aligned to it, with serial number and intrinsics; reset when it falls silent.

    cameras:
      top: {driver: realsense, config: {serial: "123456789", width_px: 640, height_px: 480, rate_hz: 30}}

A recording (.db3 of this version, .bag of older ones) stands in for a camera: `recording: FILE, loop: true`. Its path
starts at the folder of station.yaml.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from nightlab.errors import StationError
from nightlab.records import CameraSpec, Intrinsics, Record
from robots.drivers.frame_reader import FrameReader, Picture
from robots.drivers.options import read_options
from robots.drivers.realsense_source import LIST, PipelineSource, Source, Streams
from robots.drivers.scaling import square


class RealSenseOptions(Record):
    """The `config` section of a camera `realsense`."""

    serial: str = ""
    """Empty: the only one that is connected."""
    recording: Path | None = None
    """A file instead of a camera."""
    loop: bool = False
    """A recording begins anew at its end."""
    width_px: int = Field(default=640, gt=0)
    height_px: int = Field(default=480, gt=0)
    rate_hz: int = Field(default=30, gt=0)
    depth: bool = True
    max_age_s: float = Field(default=0.5, gt=0)
    """An older picture is refused."""
    max_resets: int = Field(default=2, ge=0)
    """Hardware resets of a silent camera, while the server runs; then a person must look."""
    description: str = ""


def open_camera(key: str, config: Mapping[str, Any], folder: Path = Path()) -> RealSenseCamera:
    """The camera of `station.yaml`, which lies in `folder`.

    Raises:
        UsageError: settings that it does not take.
        StationError: no such camera, not on USB 3, or pyrealsense2 is missing.
    """
    options = read_options(RealSenseOptions, config, f"camera {key!r}")
    try:
        import pyrealsense2  # noqa: F401
    except ImportError as error:
        raise StationError(
            f"camera {key!r}: pyrealsense2 cannot be imported ({error}). Install it: pip install 'pyrealsense2>=2.57'; on "
            "aarch64 see docs/so101.md; on Debian it needs: apt install libusb-1.0-0"
        ) from error
    streams = Streams(options.width_px, options.height_px, options.rate_hz, options.depth)
    recording = options.recording and folder / options.recording
    return RealSenseCamera(key, options, PipelineSource(streams, options.serial, recording, options.loop))


class RealSenseCamera:
    """Implements `robots.driver.Camera`.

    Args:
        key: name of the camera at its station.
        options: its settings.
        source: where its frames come from.

    Raises:
        StationError: it does not start, or gives no picture.
    """

    def __init__(self, key: str, options: RealSenseOptions, source: Source) -> None:
        import pyrealsense2 as rs

        self._options, self._source = options, source
        self._align = rs.align(rs.stream.color)
        self._intrinsics: Intrinsics | None = None
        self._looked: Picture | None = None
        source.start()
        name = f"camera {key!r} (realsense {source.serial or 'without a serial'})"
        self._reader = FrameReader(
            name,
            self._grab,
            reset=source.hardware_reset,
            max_age_s=options.max_age_s,
            resets=options.max_resets,
            fix="Unplug it, look at cable and USB 3 port, plug it in again. " + LIST,
        )
        try:
            first = self._reader.start()
        except StationError:
            source.stop()
            raise
        height, width = first.rgb.shape[:2]
        self._spec = CameraSpec(
            key=key, width_px=width, height_px=height, depth=first.depth_m is not None, description=options.description,
            serial=source.serial, intrinsics=self._intrinsics,
        )  # fmt: skip

    def spec(self) -> CameraSpec:
        return self._spec

    @property
    def age_s(self) -> float:
        """Age of the newest picture."""
        return self._reader.age_s

    @property
    def resets(self) -> int:
        """How often it was reset."""
        return self._reader.resets

    def render(self, size_px: int | None = None) -> NDArray[np.uint8]:
        """The newest colour picture. Raises StationError if it is stale."""
        picture = self._looked = self._reader.newest()
        return square(picture.rgb, size_px)

    def render_depth(self) -> NDArray[np.float32] | None:
        """Depth of the look that `render` gave last, aligned to it, metres; 0: not measured."""
        return None if self._looked is None else self._looked.depth_m

    def close(self) -> None:
        """Stop the streams."""
        self._reader.close()
        self._source.stop()

    def _grab(self) -> Picture | None:
        import pyrealsense2 as rs

        frames = self._source.wait()
        if frames is None or not frames.is_frameset():
            return None
        frames = frames.as_frameset()
        if self._options.depth and not (frames.get_depth_frame() and frames.get_color_frame()):
            return None
        if self._options.depth:
            frames = self._align.process(frames)
        color, depth = frames.get_color_frame(), frames.get_depth_frame() if self._options.depth else None
        if not color:
            return None
        stream = color.get_profile().as_video_stream_profile()
        if self._intrinsics is None:
            self._intrinsics = _intrinsics(stream.get_intrinsics())
        rgb = np.asanyarray(color.get_data())
        if stream.format() == rs.format.bgr8:
            rgb = rgb[..., ::-1]
        elif stream.format() != rs.format.rgb8:
            raise StationError(f"the colour stream is {stream.format()}; rgb8 or bgr8 are read. Record it so")
        depth_m = None
        if depth:
            depth_m = (np.asanyarray(depth.get_data()) * np.float32(depth.get_units())).astype(np.float32)
        return Picture(np.array(rgb, dtype=np.uint8), depth_m, int(color.get_frame_number()))


def _intrinsics(given: Any) -> Intrinsics:
    return Intrinsics(
        fx_px=given.fx, fy_px=given.fy, cx_px=given.ppx, cy_px=given.ppy,
        model=str(given.model).rpartition(".")[2], coefficients=tuple(float(value) for value in given.coeffs),
    )  # fmt: skip
