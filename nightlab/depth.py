"""Depth pictures as bytes: 16-bit PNG in steps of 0.1 mm, as depth cameras give them. 0 means: nothing measured.

A depth on that grid comes back exactly; any other is rounded to it, so a verdict is always taken from what is stored.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from nightlab.errors import UsageError

STEP_m: Final = 1e-4
"""One step of a stored depth; the farthest that can be told is 6.55 m."""
FARTHEST: Final = 65535


def on_grid(depth_m: NDArray[np.float32]) -> NDArray[np.float32]:
    """Depth [height, width] in metres as it will come back from storage; NaN, negative and too far become 0."""
    return _metres(_steps(depth_m))


def encode_depth(depth_m: NDArray[np.float32]) -> bytes:
    """Depth [height, width] in metres as PNG."""
    import cv2

    if depth_m.ndim != 2:
        raise UsageError(f"a depth picture has the shape [height, width], not {depth_m.shape}")
    settings = (cv2.IMWRITE_PNG_COMPRESSION, 1, cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_SUB)
    _, data = cv2.imencode(".png", _steps(depth_m), settings)
    return bytes(data)


def decode_depth(png: bytes) -> NDArray[np.float32]:
    """Depth [height, width] in metres from `encode_depth`'s PNG. Raises UsageError if it is none."""
    import cv2

    steps = cv2.imdecode(np.frombuffer(png, dtype=np.uint8), cv2.IMREAD_UNCHANGED) if png else None
    if steps is None or steps.dtype != np.uint16 or steps.ndim != 2:
        raise UsageError(f"{len(png)} bytes given as a depth picture are no 16-bit PNG; record the episode again")
    return _metres(steps)


def _steps(depth_m: NDArray[np.float32]) -> NDArray[np.uint16]:
    steps = np.rint(np.nan_to_num(depth_m, nan=0.0, posinf=0.0, neginf=0.0) / np.float32(STEP_m))
    return np.where((steps < 0) | (steps > FARTHEST), 0, steps).astype(np.uint16)


def _metres(steps: NDArray[np.uint16]) -> NDArray[np.float32]:
    depth_m = steps.astype(np.float32)
    depth_m *= np.float32(STEP_m)
    return depth_m
