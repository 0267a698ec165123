"""The bench's RGB-D cameras: MuJoCo's renderer on a software GL context, one pass for picture and depth.

The context is made on the first picture and is current only while one is drawn, so any thread may ask (one at a time).
EGL if the machine has it, else OSMesa.
"""

from __future__ import annotations

import ctypes.util
import os
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from nightlab import pin_box as box
from nightlab.errors import StationError

DEPTH_AT_m: Final = 0.5
"""Distance at which the depth noise has its declared standard deviation."""
GRAIN_PX: Final = 128
"""By how much the sheet of noise is larger than a picture."""
SAMPLES: Final = {True: 4, False: 0}
"""Samples per pixel of fine pictures (cameras) and coarse ones (film): smooth edges cost twice the time."""


def gl_context_class() -> Any:
    """The class of headless GL contexts that this machine can make.

    Raises:
        StationError: it has neither EGL nor OSMesa.
    """
    wanted = os.environ.get("MUJOCO_GL", "").lower()
    names = ["OSMesa", "EGL"] if wanted == "osmesa" else ["EGL", "OSMesa"]
    for name in names:
        if ctypes.util.find_library(name) is None:
            continue
        try:
            if name == "EGL":
                from mujoco.egl import GLContext
            else:
                from mujoco.osmesa import GLContext
            return GLContext
        except (ImportError, AttributeError, OSError):
            continue
    raise StationError(
        "a bench needs a software GL library for its cameras and this machine has neither EGL nor OSMesa. "
        "Try: apt-get install libegl1 libgl1-mesa-dri (or libosmesa6)"
    )


class Cameras:
    """Draws a model's cameras.

    Args:
        model: an MjModel; offwidth and offheight bound the pictures.
        keys: the cameras there are.
        station_seed: seeds the sensors' noise.
    """

    def __init__(self, model: Any, keys: Sequence[str], station_seed: int) -> None:
        self._model = model
        self._keys = list(keys)
        self._seed = abs(int(station_seed))
        self._latest: tuple[tuple[str, int], NDArray[np.uint8], NDArray[np.float32] | None] | None = None
        self._gl: Any = None
        self._contexts: dict[bool, Any] = {}

    def _open(self) -> None:
        import mujoco

        kind = gl_context_class()
        width, height = box.IMAGE_PX
        try:
            self._gl = kind(width, height)
        except (ImportError, RuntimeError, AttributeError) as error:
            raise StationError(
                f"no GL context for the bench's cameras: {error}. Try: MUJOCO_GL=osmesa nightlab up"
            ) from error
        self._scene = mujoco.MjvScene(self._model, maxgeom=self._model.ngeom + 50)
        self._scene.flags[mujoco.mjtRndFlag.mjRND_SHADOW] = 0
        self._scene.flags[mujoco.mjtRndFlag.mjRND_REFLECTION] = 0
        self._option = mujoco.MjvOption()
        self._view = mujoco.MjvCamera()
        self._view.type = mujoco.mjtCamera.mjCAMERA_FIXED
        with self._gl.as_current():
            for fine, samples in SAMPLES.items():
                self._model.vis.quality.offsamples = samples
                context = mujoco.MjrContext(self._model, mujoco.mjtFontScale.mjFONTSCALE_150.value)
                context.readDepthMap = mujoco.mjtDepthMap.mjDEPTH_ZEROFAR
                self._contexts[fine] = context

    def look(
        self, data: Any, camera: str, tick: int, traits: Mapping[str, float]
    ) -> tuple[NDArray[np.uint8], NDArray[np.float32] | None]:
        """What the sensor gives at a tick, with its noise: RGB uint8 [480, 640, 3] and depth float32 [480, 640] m.

        Looking again at the same tick gives the same.

        Raises:
            StationError: no such camera, or no GL.
        """
        key = (camera, tick)
        if self._latest is None or self._latest[0] != key:
            rgb, depth_m = self.draw(data, camera, *box.IMAGE_PX, fine=True)
            rng = np.random.default_rng([0xCA3E, self._seed, tick, self._keys.index(camera)])
            self._latest = (key, *add_noise(rng, rgb, depth_m, traits["image_noise"], traits["depth_noise_m"]))
        return self._latest[1], self._latest[2]

    def film(self, data: Any, camera: str, size_px: int) -> NDArray[np.uint8]:
        """The square middle without noise, uint8 [size, size, 3]; at most 480 px, the height of the frame buffer."""
        size_px = min(size_px, box.IMAGE_PX[1])
        return self.draw(data, camera, size_px, size_px, fine=False)[0]

    def draw(
        self, data: Any, camera: str, width_px: int, height_px: int, *, fine: bool
    ) -> tuple[NDArray[np.uint8], NDArray[np.float32] | None]:
        """RGB uint8 [height, width, 3]; if `fine`, also depth float32 [height, width] m along the camera's axis.

        Brings the positions in `data` up to date, and changes nothing that the next physics step starts from.
        """
        import mujoco

        if camera not in self._keys:
            raise StationError(f"no camera {camera!r} at this station; there is: {', '.join(self._keys)}")
        mujoco.mj_kinematics(self._model, data)
        mujoco.mj_camlight(self._model, data)
        if not self._contexts:
            self._open()
        context = self._contexts[fine]
        self._view.fixedcamid = self._model.camera(camera).id
        with self._gl.as_current():
            mujoco.mjv_updateScene(
                self._model, data, self._option, None, self._view, mujoco.mjtCatBit.mjCAT_ALL.value, self._scene
            )
            mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN.value, context)
            rect = mujoco.MjrRect(0, 0, width_px, height_px)
            mujoco.mjr_render(rect, self._scene, context)
            rgb = np.empty((height_px, width_px, 3), dtype=np.uint8)
            raw = np.empty((height_px, width_px), dtype=np.float32) if fine else None
            mujoco.mjr_readPixels(rgb, raw, rect, context)
        return np.ascontiguousarray(rgb[::-1]), self._metres(raw[::-1]) if raw is not None else None

    def _metres(self, raw: NDArray[np.float32]) -> NDArray[np.float32]:
        """Metres from a reversed depth buffer (1 near, 0 far)."""
        extent = self._model.stat.extent
        near, far = self._model.vis.map.znear * extent, self._model.vis.map.zfar * extent
        scale, offset = np.float32((far - near) / (near * far)), np.float32(1.0 / far)
        return np.asarray(np.float32(1.0) / (raw * scale + offset), dtype=np.float32)

    def close(self) -> None:
        """Free the contexts."""
        if self._contexts:
            with self._gl.as_current():
                for context in self._contexts.values():
                    context.free()
            self._gl.free()
            self._contexts = {}

    def __del__(self) -> None:
        self.close()


def add_noise(
    rng: np.random.Generator, rgb: NDArray[np.uint8], depth_m: NDArray[np.float32] | None, pixel: float, noise_m: float
) -> tuple[NDArray[np.uint8], NDArray[np.float32] | None]:
    """Sensor noise: `pixel` of 255 on the colours, `noise_m` at 0.5 m on the depth, growing with its square."""
    import cv2

    height, width = rgb.shape[:2]
    if pixel > 0:
        grain = np.rint(_window(rng, _grain(3), height, width) * np.float32(pixel)).astype(np.int16)
        rgb = np.asarray(cv2.add(rgb, grain, dtype=cv2.CV_8U), dtype=np.uint8)
    if depth_m is not None and noise_m > 0:
        scale = np.float32(noise_m / DEPTH_AT_m**2)
        depth_m = depth_m + scale * depth_m * depth_m * _window(rng, _grain(1), height, width)[..., 0]
    return rgb, depth_m


@lru_cache(maxsize=2)
def _grain(channels: int) -> NDArray[np.float32]:
    """A sheet of standard normal numbers, larger than a picture; drawing them anew costs more than the picture."""
    width, height = box.IMAGE_PX
    rng = np.random.default_rng([0x62A1, channels])
    sheet = rng.standard_normal((height + GRAIN_PX, width + GRAIN_PX, channels), dtype=np.float32)
    sheet.setflags(write=False)
    return sheet


def _window(rng: np.random.Generator, sheet: NDArray[np.float32], height: int, width: int) -> NDArray[np.float32]:
    """A random window of a sheet, randomly mirrored."""
    row, column = rng.integers(0, GRAIN_PX, 2)
    flips = tuple(slice(None, None, int(step)) for step in rng.choice((-1, 1), 2))
    return sheet[row : row + height, column : column + width][flips]


def jitter(model: Any, station_seed: int, place_m: float, turn_rad: float) -> None:
    """Move every camera of a model off its drawing, by normal numbers that belong to the station."""
    import mujoco

    rng = np.random.default_rng([0xCA31, abs(int(station_seed))])
    for number in range(model.ncam):
        model.cam_pos[number] += place_m * rng.standard_normal(3)
        spin = turn_rad * rng.standard_normal(3)
        mujoco.mju_quatIntegrate(model.cam_quat[number], spin, 1.0)
