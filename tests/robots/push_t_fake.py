"""A table for the emulated SO-101: pymunk pushes the T where the emulated tip is, and a camera looks at it askew."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from nightlab.records import CameraSpec
from nightlab.testing.feetech import EmulatedFeetechBus
from robots.drivers.so101_push_t import Reach
from robots.profiles import load_profile
from robots.worlds import make_world
from robots.worlds.push_t_camera import render_table

CORNERS_px = [(120.0, 40.0), (520.0, 30.0), (560.0, 450.0), (90.0, 460.0)]
LIGHT = np.array([[0.72, 0.06, 0.02, 18.0], [0.04, 0.75, 0.03, 12.0], [0.01, 0.05, 0.70, 25.0]])
"""The camera's colours of the printed ones, affine."""
NOMINAL = {"paper": (255, 255, 255), "goal": (144, 238, 144), "block": (119, 136, 153), "agent": (65, 105, 225)}
COLOURS = {name: (LIGHT @ [*rgb, 1.0]).tolist() for name, rgb in NOMINAL.items()}
TOUCHES_m = 0.01


def askew(table: Any, noise: float = 0.0) -> Any:
    """What the camera sees of a straight table: uint8 [480, 640, 3] RGB."""
    square = np.array([(0, 0), (512, 0), (512, 512), (0, 512)], dtype=np.float32)
    warp = cv2.getPerspectiveTransform(square - 0.5, np.array(CORNERS_px, dtype=np.float32) - 0.5)
    wood = (150, 120, 90)
    seen = cv2.warpPerspective(table, warp, (640, 480), flags=cv2.INTER_LINEAR, borderValue=wood)
    lit = cv2.transform(seen, LIGHT).astype(np.float64)
    if noise:
        lit += np.random.default_rng(0).normal(0, noise, lit.shape)
    return np.clip(lit, 0, 255).astype(np.uint8)


class FakeTable:
    """Bus, table and camera as one thing."""

    now: FakeTable | None = None

    def __init__(self, bus: EmulatedFeetechBus, middles: list[float]) -> None:
        self.bus, self.middles = bus, middles
        self.world: Any = make_world("push_t", load_profile("nominal"), 1)
        self.reach: Reach | None = None
        self.fresh = True
        self._stepped_s = time.monotonic()
        FakeTable.now = self

    def joints(self) -> Any:
        """Of the emulated shafts, rad."""
        for servo in self.bus.servos.values():
            servo.advance()
        shafts = [servo.position for servo in list(self.bus.servos.values())[:5]]
        return (np.array(shafts) - self.middles[:5]) * 2 * np.pi / 4095

    def picture(self) -> Any:
        """Let the world run to now, and look."""
        xy = np.array([-1e4, -1e4])
        if self.reach is not None:
            xy, above = self.reach.place(self.joints())
            periods = min(20, int((time.monotonic() - self._stepped_s) * 10))
            self._stepped_s += periods / 10
            for _ in range(periods if above < TOUCHES_m else 0):
                self.world.step({"target_xy": xy})
            if above >= TOUCHES_m:
                truth = self.world.truth()
                pose = {key: truth[key] for key in ("block_x_px", "block_y_px", "block_angle_rad")}
                self.world.teleport({"agent_x_px": float(xy[0]), "agent_y_px": float(xy[1]), **pose}, 0)
        truth = self.world.truth()
        pose_now = (truth["block_x_px"], truth["block_y_px"], truth["block_angle_rad"])
        return askew(render_table(xy.tolist(), pose_now), noise=2.0)


class FakeCamera:
    def spec(self) -> CameraSpec:
        return CameraSpec(key="top", width_px=640, height_px=480)

    def render(self, size_px: int | None = None) -> Any:
        assert FakeTable.now is not None
        return FakeTable.now.picture()

    def render_depth(self) -> None:
        return None

    def close(self) -> None: ...


def open_camera(key: str, config: Mapping[str, Any], folder: Path) -> FakeCamera:
    return FakeCamera()
