"""Is the camera where it was mounted? The table's walls must appear where they always do.

Along each half of each side the median over the side is taken, so that neither T nor disc hides the wall; the darkest
band of a wall's width gives its place. A policy can hide part of one wall, never shift two that face each other.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from environments.push_t import spec

WINDOW_px = 40
"""How far from the picture's edge a wall is looked for."""
STRIDE_px = 2
"""Every second pixel along a side is looked at."""
WIDTH_px = spec.WALL_LOW_px[1] - spec.WALL_LOW_px[0]
FOUND_DARKNESS = 0.4
"""A band counts as a wall from this share of a wall's darkness on."""


def is_displaced(rgb: NDArray[np.uint8]) -> bool:
    """Whether facing walls are both seen away from their place (or one is, and the other is not seen), or no wall is.

    Args:
        rgb: uint8 [height, width, 3].
    """
    grey = rgb[..., 1]
    low, high = spec.WALL_LOW_px[0], grey.shape[0] - spec.WALL_HIGH_px[1]
    columns, rows = grey[:, ::STRIDE_px], grey.T[:, ::STRIDE_px]
    facing = [
        (_offset_px(across[:WINDOW_px], low), _offset_px(across[::-1][:WINDOW_px], high)) for across in (columns, rows)
    ]
    if all(offset is None for pair in facing for offset in pair):
        return True
    return any(_away(*pair) or _away(*reversed(pair)) for pair in facing)


def _away(one: int | None, other: int | None) -> bool:
    return one is not None and one > spec.CAMERA_MOVED_px and (other is None or other > spec.CAMERA_MOVED_px)


def _offset_px(strip: NDArray[np.uint8], place_px: int) -> int | None:
    """Distance of a wall from its place in the better half of its side, px; None if no wall is seen."""
    middle = strip.shape[1] // 2
    found = [_half_px(half, place_px) for half in (strip[:, :middle], strip[:, middle:])]
    return min((offset for offset in found if offset is not None), default=None)


def _half_px(half: NDArray[np.uint8], place_px: int) -> int | None:
    profile = np.median(half, axis=1)
    darkness = np.clip(float(np.median(profile)) - profile, 0.0, None)
    bands = np.convolve(darkness, np.ones(WIDTH_px), "valid")
    best = int(np.argmax(bands))
    if bands[best] < FOUND_DARKNESS * WIDTH_px * (255 - spec.WALL_RGB[1]):
        return None
    return abs(best - place_px)
