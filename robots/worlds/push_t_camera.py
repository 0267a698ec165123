"""The top camera of the Push-T table: an exact anti-aliased renderer in numpy.

Pixel convention: pixel (row r, column c) is the square [c, c+1) × [r, r+1) of the table (at 512 px), its centre is at
(c + 0.5, r + 0.5). A pixel's colour is the area-weighted mix of what lies in it (box filter, linear in 8-bit values;
exact along straight edges, approximate at corners). Colours and drawing order are gym-pusht's.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from nightlab import geometry as g

WHITE = (255, 255, 255)
GOAL_RGB = (144, 238, 144)
WALL_RGB = (211, 211, 211)
AGENT_RGB = (65, 105, 225)
BLOCK_RGB = (119, 136, 153)

Image = NDArray[np.uint8]


def render_table(agent_xy: Sequence[float], block_pose: Sequence[float], size_px: int = 512) -> Image:
    """The table from above: uint8 [size_px, size_px, 3] RGB."""
    image = _background(size_px).copy()
    _draw_disc(image, agent_xy)
    _draw_t(image, block_pose, BLOCK_RGB)
    return image


@lru_cache(maxsize=8)
def _background(size_px: int) -> Image:
    image = np.full((size_px, size_px, 3), WHITE, dtype=np.uint8)
    _draw_t(image, g.GOAL_POSE, GOAL_RGB)
    scale = size_px / g.TABLE_PX
    centre = (np.arange(size_px) + 0.5) / scale
    half = 0.5 / scale

    def band(low: float, high: float) -> NDArray[np.float64]:
        overlap = np.minimum(centre + half, high) - np.maximum(centre - half, low)
        return np.asarray(np.clip(overlap, 0, None) * scale, dtype=np.float64)

    wall = band(3, 7) + band(504, 508)
    inside = band(3, 508)
    mix = np.maximum(wall[:, None] * inside[None, :], inside[:, None] * wall[None, :])
    _blend(image, mix, WALL_RGB, 0, 0)
    image.setflags(write=False)
    return image


def _blend(image: Image, mix: NDArray[np.float64], rgb: tuple[int, int, int], row: int, column: int) -> None:
    window = image[row : row + mix.shape[0], column : column + mix.shape[1]]
    alpha = mix[:, :, None].astype(np.float32)
    mixed = window + alpha * (np.asarray(rgb, dtype=np.float32) - window)
    np.copyto(window, np.rint(mixed).astype(np.uint8))


def _grid(
    image: Image, low: Sequence[float], high: Sequence[float]
) -> tuple[int, int, NDArray[np.float64], NDArray[np.float64]] | None:
    """First row and column of the window around a box of the table, and the pixel centres in it (table px)."""
    size = image.shape[0]
    scale = size / g.TABLE_PX
    c0, r0 = (max(0, math.floor(value * scale) - 1) for value in low)
    c1, r1 = (min(size, math.ceil(value * scale) + 1) for value in high)
    if c0 >= c1 or r0 >= r1:
        return None
    x = np.arange(c0, c1, dtype=np.float64)[None, :] + 0.5
    y = np.arange(r0, r1, dtype=np.float64)[:, None] + 0.5
    return r0, c0, np.asarray(x / scale, dtype=np.float64), np.asarray(y / scale, dtype=np.float64)


def _draw_disc(image: Image, xy: Sequence[float]) -> None:
    radius = g.AGENT_RADIUS_PX
    grid = _grid(image, (xy[0] - radius, xy[1] - radius), (xy[0] + radius, xy[1] + radius))
    if grid is None:
        return
    row, column, x, y = grid
    distance = np.sqrt((x - xy[0]) ** 2 + (y - xy[1]) ** 2)
    scale = image.shape[0] / g.TABLE_PX
    _blend(image, np.clip((radius - distance) * scale + 0.5, 0, 1), AGENT_RGB, row, column)


def _draw_t(image: Image, pose: Sequence[float], rgb: tuple[int, int, int]) -> None:
    outline = g.t_outline(pose)
    grid = _grid(image, outline.min(axis=0).tolist(), outline.max(axis=0).tolist())
    if grid is None:
        return
    row, column, x, y = grid
    c, s = math.cos(pose[2]), math.sin(pose[2])
    scale = image.shape[0] / g.TABLE_PX
    u = c * (x - pose[0]) + s * (y - pose[1])
    v = -s * (x - pose[0]) + c * (y - pose[1])
    # Across an edge at angle a, a box pixel is filled along |cos a| + |sin a| pixels: a linear ramp is exact to 1/8 px.
    width = abs(c) + abs(s)

    def slab(value: NDArray[np.float64], low: float, high: float) -> NDArray[np.float64]:
        rise = np.clip((value - low) * (scale / width) + 0.5, 0, 1)
        return rise - np.clip((value - high) * (scale / width) + 0.5, 0, 1)

    mix = np.zeros(u.shape)
    for x0, x1, y0, y1 in (g.BAR_LOCAL, g.STEM_LOCAL):
        mix += slab(u, x0, x1) * slab(v, y0, y1)
    _blend(image, np.clip(mix, 0, 1), rgb, row, column)
