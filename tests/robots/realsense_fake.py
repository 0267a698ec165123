"""A software RealSense: a D435-like device whose colour and depth pictures are known, live or recorded to a file.

Picture k: colour (k mod 200, 100, 50); depth 500 + k mod 100 mm in the left half, nothing measured in the right.
"""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyrealsense2 as rs

WIDTH_px, HEIGHT_px, RATE_HZ = 64, 48, 30
SERIAL = "123456789012"
FX_px, CX_px, CY_px = 60.0, 31.5, 24.25


def intrinsics() -> Any:
    lens = rs.intrinsics()
    lens.width, lens.height = WIDTH_px, HEIGHT_px
    lens.fx = lens.fy = FX_px
    lens.ppx, lens.ppy = CX_px, CY_px
    lens.model = rs.distortion.none
    lens.coeffs = [0.0] * 5
    return lens


def stream(kind: Any, form: Any, uid: int, bpp: int) -> Any:
    video = rs.video_stream()
    video.type, video.index, video.uid = kind, 0, uid
    video.width, video.height, video.fps, video.bpp, video.fmt = WIDTH_px, HEIGHT_px, RATE_HZ, bpp, form
    video.intrinsics = intrinsics()
    return video


class SoftwareRealSense:
    """`device` and `sensors`; pictures come while `run` is open."""

    def __init__(self) -> None:
        self.device = rs.software_device()
        self.device.register_info(rs.camera_info.serial_number, SERIAL)
        self.device.register_info(rs.camera_info.name, "Software D435")
        depth, color = self.device.add_sensor("Stereo Module"), self.device.add_sensor("RGB Camera")
        depth.add_read_only_option(rs.option.depth_units, 0.001)
        self._profiles = [
            depth.add_video_stream(stream(rs.stream.depth, rs.format.z16, 0, 2)),
            color.add_video_stream(stream(rs.stream.color, rs.format.rgb8, 1, 3)),
        ]
        same = rs.extrinsics()
        same.rotation, same.translation = [1, 0, 0, 0, 1, 0, 0, 0, 1], [0, 0, 0]
        self._profiles[0].register_extrinsics_to(self._profiles[1], same)
        self.device.create_matcher(rs.matchers.default)
        self.sensors = [depth, color]
        self.number = 0
        self.silent = threading.Event()
        self.resets = 0
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def run(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._closing.set()
        if self._thread.is_alive():
            self._thread.join(2.0)

    def reset(self) -> None:
        self.resets += 1
        self.silent.clear()

    def _run(self) -> None:
        while not self._closing.wait(1 / RATE_HZ):
            if not self.silent.is_set():
                self.show()

    def show(self) -> None:
        """One pair of pictures."""
        self.number += 1
        depth = np.zeros((HEIGHT_px, WIDTH_px), np.uint16)
        depth[:, : WIDTH_px // 2] = 500 + self.number % 100
        color = np.empty((HEIGHT_px, WIDTH_px, 3), np.uint8)
        color[:] = (self.number % 200, 100, 50)
        for sensor, profile, pixels, bpp in zip(self.sensors, self._profiles, (depth, color), (2, 3), strict=True):
            frame = rs.software_video_frame()
            frame.pixels, frame.stride, frame.bpp = pixels, WIDTH_px * bpp, bpp
            frame.timestamp, frame.domain = self.number * 1000.0 / RATE_HZ, rs.timestamp_domain.hardware_clock
            frame.frame_number, frame.profile = self.number, profile.as_video_stream_profile()
            if bpp == 2:
                frame.depth_units = 0.001
            sensor.on_video_frame(frame)


def record(path: Path, pictures: int = 60) -> Path:
    """A recording (.db3) by rs.recorder."""
    fake = SoftwareRealSense()
    recorder = rs.recorder(str(path), fake.device)
    sensors = recorder.query_sensors()
    queue = rs.frame_queue(4)
    for sensor in sensors:
        sensor.open(sensor.get_stream_profiles())
        sensor.start(queue)
    for _ in range(pictures):
        fake.show()
        time.sleep(0.005)
    for sensor in sensors:
        sensor.stop()
        sensor.close()
    del sensors, recorder
    return path
