"""Where RealSense frames come from: a camera or a recording by `rs.pipeline`, or any opened device by `rs.syncer`.

`rs.pipeline` cannot open a `software_device`; its sensors are opened one by one instead. That is also how a
`rs.playback` device plays.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from nightlab.errors import StationError

WAIT_ms: Final = 500
BACK_s: Final = 15.0
"""How long a camera may take to come back on the bus after a hardware reset."""
LIST: Final = "See what there is: lerobot-find-cameras realsense"
RECORD: Final = (
    'python -c "import time, pyrealsense2 as rs; c, p = rs.config(), rs.pipeline(); '
    "c.enable_record_to_file('FILE.db3'); p.start(c); time.sleep(10); p.stop()\""
)


@dataclass(frozen=True, slots=True)
class Streams:
    """What is asked of a camera."""

    width_px: int = 640
    height_px: int = 480
    rate_hz: int = 30
    depth: bool = True


class Source(Protocol):
    """Frames of one device."""

    serial: str

    def start(self) -> None: ...
    def wait(self) -> Any | None:
        """The next frameset, or None if none came within half a second."""
        ...

    def hardware_reset(self) -> None:
        """Reset the device, wait until it is back. Raises StationError."""
        ...

    def stop(self) -> None: ...


class PipelineSource:
    """A camera by its serial number (empty: the only one), or a recording (.db3, .bag)."""

    def __init__(self, streams: Streams, serial: str = "", recording: Path | None = None, loop: bool = False) -> None:
        self._streams, self._recording, self._loop = streams, recording, loop
        self.serial = serial
        self._pipeline: Any = None

    def start(self) -> None:
        """Raises StationError: no such camera or recording, or it does not give the streams asked for."""
        import pyrealsense2 as rs

        config = rs.config()
        if self._recording is not None:
            if not self._recording.is_file():
                raise StationError(f"no recording {self._recording}; record one: {RECORD}")
            config.enable_device_from_file(str(self._recording), self._loop)
        else:
            self.serial = self._find(rs)
            config.enable_device(self.serial)
            s = self._streams
            config.enable_stream(rs.stream.color, s.width_px, s.height_px, rs.format.rgb8, s.rate_hz)
            if s.depth:
                config.enable_stream(rs.stream.depth, s.width_px, s.height_px, rs.format.z16, s.rate_hz)
        self._pipeline = rs.pipeline()
        try:
            profile = self._pipeline.start(config)
        except RuntimeError as error:
            self._pipeline = None
            s = self._streams
            raise StationError(
                f"RealSense {self.serial or self._recording} does not start ({error}); asked: "
                f"{s.width_px} x {s.height_px} px at {s.rate_hz} Hz. It needs a USB 3 port for more. {LIST}"
            ) from error
        device = profile.get_device()
        if device.supports(rs.camera_info.serial_number):
            self.serial = device.get_info(rs.camera_info.serial_number)

    def wait(self) -> Any | None:
        """The next frameset."""
        if self._pipeline is None:
            raise StationError("its streams are stopped")
        ok, frames = self._pipeline.try_wait_for_frames(WAIT_ms)
        return frames if ok else None

    def hardware_reset(self) -> None:
        """Reset the camera by its own firmware, and wait until it is on the bus again."""
        import pyrealsense2 as rs

        if self._recording is not None:
            raise StationError(f"recording {self._recording} has ended; a recording cannot be reset")
        self.stop()
        for device in rs.context().query_devices():
            if device.get_info(rs.camera_info.serial_number) == self.serial:
                device.hardware_reset()
        give_up = time.monotonic() + BACK_s
        while True:
            time.sleep(0.5)
            try:
                self.start()
                return
            except StationError:
                if time.monotonic() > give_up:
                    raise

    def stop(self) -> None:
        """Idempotent."""
        if self._pipeline is not None:
            with contextlib.suppress(RuntimeError):  # unplugged: there is nothing to stop
                self._pipeline.stop()
            self._pipeline = None

    def _find(self, rs: Any) -> str:
        there = [device.get_info(rs.camera_info.serial_number) for device in rs.context().query_devices()]
        named = ", ".join(there) or "none"
        if self.serial and self.serial not in there:
            raise StationError(f"no RealSense {self.serial} is connected; connected: {named}. {LIST}")
        if not self.serial and len(there) != 1:
            what = (
                "no RealSense is connected" if not there else f"several RealSense are connected ({named}): say serial"
            )
            raise StationError(f"{what}. {LIST}")
        return self.serial or str(there[0])


class DeviceSource:
    """The sensors of an opened device, `software_device` or `playback`.

    Args:
        device: `rs.device`.
        sensors: its sensors; a software device loses those that Python does not hold on to.
        reset: what a hardware reset does; None: the device's own.
    """

    def __init__(self, device: Any, sensors: list[Any], reset: Callable[[], None] | None = None) -> None:
        import pyrealsense2 as rs

        self._device, self._sensors, self._reset = device, sensors, reset
        known = device.supports(rs.camera_info.serial_number)
        self.serial = device.get_info(rs.camera_info.serial_number) if known else ""
        self._syncer: Any = None

    def start(self) -> None:
        """Open every stream of every sensor."""
        import pyrealsense2 as rs

        self._syncer = rs.syncer(8)
        for sensor in self._sensors:
            sensor.open(sensor.get_stream_profiles())
            sensor.start(self._syncer)

    def wait(self) -> Any | None:
        """The next frameset."""
        if self._syncer is None:
            raise StationError("its streams are stopped")
        ok, frames = self._syncer.try_wait_for_frames(WAIT_ms)
        return frames if ok else None

    def hardware_reset(self) -> None:
        """The device's own reset; its streams begin again."""
        self.stop()
        (self._reset or self._device.hardware_reset)()
        self.start()

    def stop(self) -> None:
        """Idempotent."""
        if self._syncer is None:
            return
        self._syncer = None
        for sensor in self._sensors:
            try:
                sensor.stop()
                sensor.close()
            except RuntimeError:
                continue
