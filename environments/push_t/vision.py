"""Pose of the T from one camera frame: colour unmixing, moments, then a least-squares fit of the outline.

1. Each pixel is an anti-aliased mixture of four colours (paper, goal, disc, T). The affine map that sends the first
   three to 0 and the T to 1 gives the share of the T in the pixel, whatever it borders on.
2. First and second moments of that share give centroid and axis; the third tells the stem from the bar.
3. Along normals of the outline the share is integrated: for a straight edge the integral is exactly the distance to
   the edge, however the edge was smoothed. These distances are linear in a small motion (dx, dy, dtheta) and in a
   uniform growth of the outline (renderers differ there by a fraction of a pixel), solved by least squares:
   Gauss-Newton on about 200 samples.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from environments.push_t import spec
from nightlab.geometry import T_CENTROID_LOCAL, T_OUTLINE_LOCAL, wrap_angle

Floats = NDArray[np.float64]

PIXEL_CENTRE_px = 0.5
"""World coordinate of the centre of pixel 0."""
SAMPLE_SPACING_px = 2.0
COARSE_REACH_px, FINE_REACH_px = 11.0, 4.0
STAGES = ((COARSE_REACH_px, 1.0), (COARSE_REACH_px, 1.0), (FINE_REACH_px, 0.5), (FINE_REACH_px, 0.5))
"""Reach along the normal on each side and distance of taps, of each Gauss-Newton step, px."""
CONTRAST = 0.25
"""A profile counts if it begins above 1 - CONTRAST inside the T and ends below CONTRAST outside."""
SURE_SHARE, SURE_RESIDUAL_px = 0.7, 0.3
"""No further first guess is tried once a fit sees this much of the outline this cleanly."""
MIN_AREA_px2 = 1500.0
"""Less of the T than this (of 6300) cannot be fitted."""


@dataclass(frozen=True, slots=True)
class BlockFit:
    """The T in one frame. `pose` is (x, y, angle) px, px, rad of its body frame, as the pose sensor gives it."""

    pose: Floats
    visible_share: float
    """Share of the outline's samples that were seen as a clean edge."""
    residual_px: float
    """Root mean square distance of those edges from the fitted outline."""


@dataclass(frozen=True, slots=True)
class Sight:
    """What was found in a frame; None where nothing was found."""

    block: BlockFit | None
    agent_xy: Floats | None
    """Centre of the disc, (2,) px."""


@cache
def _unmixing() -> Floats:
    """(2, 4): rows map (r, g, b, 1) to 255 times the share of the T, and of the disc."""
    colours = np.array([spec.PAPER_RGB, spec.GOAL_RGB, spec.AGENT_RGB, spec.BLOCK_RGB], dtype=np.float64)
    shares = np.array([[0, 0], [0, 0], [0, 255], [255, 0]], dtype=np.float64)
    weights = np.linalg.solve(np.column_stack([colours, np.ones(4)]), shares).T
    return np.asarray(weights, dtype=np.float64)


@cache
def _wall_table() -> NDArray[np.uint8]:
    """(256,): the share of the T where it lies on a wall, whose grey alone looks like half of the T."""
    wall = float(_unmixing()[0] @ [*spec.WALL_RGB, 1.0])
    return np.clip((np.arange(256) - wall) * 255 / (255 - wall), 0, 255).astype(np.uint8)


def shares(rgb: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Share of the T and of the disc in each pixel, uint8 [height, width], 255 = all of it."""
    block, agent = cv2.split(cv2.transform(rgb, _unmixing()))
    low, high = spec.WALL_LOW_px, spec.WALL_HIGH_px
    table, first, last = _wall_table(), low[0], high[1]
    for side in (
        block[low[0] : low[1], first:last],
        block[high[0] : high[1], first:last],
        block[low[1] : high[0], low[0] : low[1]],
        block[low[1] : high[0], high[0] : high[1]],
    ):
        side[:] = cv2.LUT(side, table)
    return block, agent


@cache
def _samples(margin_px: float) -> tuple[Floats, Floats, int]:
    """Points (n, 2) on the outline and outward normals (n, 2), body frame, away from corners; and n without margin."""
    outline = T_OUTLINE_LOCAL
    following = np.roll(outline, -1, axis=0)
    turn = math.copysign(1.0, float(np.sum(outline[:, 0] * following[:, 1] - outline[:, 1] * following[:, 0])))
    points, normals = [], []
    for start, end in zip(outline, following, strict=True):
        length = float(np.hypot(*(end - start)))
        along = (end - start) / length
        margin = min(margin_px, 0.35 * length)
        at = np.arange(margin, length - margin + 1e-9, SAMPLE_SPACING_px)
        points.append(start + at[:, None] * along)
        normals.append(np.tile([turn * along[1], -turn * along[0]], (len(at), 1)))
    stacked = np.concatenate(points)
    return stacked, np.concatenate(normals), len(stacked)


def _bilinear(image: NDArray[np.uint8], x_px: Floats, y_px: Floats) -> Floats:
    """Values of `image` in [0, 1] at world coordinates; outside the image the nearest edge pixel."""
    height, width = image.shape
    column = np.clip(x_px - PIXEL_CENTRE_px, 0.0, width - 1.001)
    row = np.clip(y_px - PIXEL_CENTRE_px, 0.0, height - 1.001)
    left, top = column.astype(np.intp), row.astype(np.intp)
    fx, fy = column - left, row - top
    flat = image.ravel()
    at = top * width + left
    upper = flat[at] * (1 - fx) + flat[at + 1] * fx
    lower = flat[at + width] * (1 - fx) + flat[at + width + 1] * fx
    values: Floats = (upper * (1 - fy) + lower * fy) / 255.0
    return values


def _guesses(share: NDArray[np.uint8]) -> Iterator[Floats]:
    """Poses to begin from, the likeliest first: moments, their half turn, then twelve angles about the centroid."""
    mask = cv2.threshold(share, 127, 255, cv2.THRESH_BINARY)[1]
    m = cv2.moments(mask, binaryImage=True)
    if m["m00"] < MIN_AREA_px2:
        return
    centre = np.array([m["m10"], m["m01"]]) / m["m00"] + PIXEL_CENTRE_px
    axis = 0.5 * math.atan2(2 * m["mu11"], m["mu20"] - m["mu02"])
    c, s = math.cos(axis), math.sin(axis)
    third = c**3 * m["mu30"] + 3 * c * c * s * m["mu21"] + 3 * c * s * s * m["mu12"] + s**3 * m["mu03"]
    if third < 0:  # the stem lies on the side of positive skew
        axis += math.pi
    first = axis - math.pi / 2  # the stem points along +y of the body
    for angle in (first, first + math.pi, *(first + math.pi / 6 * np.arange(1, 12))):
        c, s = math.cos(angle), math.sin(angle)
        x, y = T_CENTROID_LOCAL
        yield np.array([centre[0] - c * x + s * y, centre[1] - s * x - c * y, angle])


def _refine(share: NDArray[np.uint8], pose: Floats, reach_px: float, tap_px: float) -> BlockFit:
    """One Gauss-Newton step; the figures of the returned fit are those of the pose it started from."""
    body, body_normal, total = _samples(reach_px + 1.0)
    c, s = math.cos(pose[2]), math.sin(pose[2])
    rotation = np.array([[c, -s], [s, c]])
    arm = body @ rotation.T
    normal = body_normal @ rotation.T
    taps = np.arange(-reach_px + tap_px / 2, reach_px, tap_px)
    x = (pose[0] + arm[:, 0])[:, None] + normal[:, 0:1] * taps
    y = (pose[1] + arm[:, 1])[:, None] + normal[:, 1:2] * taps
    profile = _bilinear(share, x, y)
    seen = (profile[:, 0] > 1 - CONTRAST) & (profile[:, -1] < CONTRAST)
    visible = float(np.count_nonzero(seen)) / total
    if np.count_nonzero(seen) < 12:
        return BlockFit(pose, visible, math.inf)
    distance = profile[seen].sum(axis=1) * tap_px - reach_px
    n, a = normal[seen], arm[seen]
    lever = n[:, 1] * a[:, 0] - n[:, 0] * a[:, 1]
    system = np.column_stack([n, lever, np.ones(len(n))])
    weight = np.ones(len(n))
    for _ in range(3):  # a few outliers remain where the disc touches: Huber at 3 robust sigmas
        step = np.linalg.lstsq(system * weight[:, None], distance * weight, rcond=None)[0]
        error = distance - system @ step
        limit = 3 * max(0.02, 1.4826 * float(np.median(np.abs(error))))
        weight = np.sqrt(np.minimum(1.0, limit / np.maximum(np.abs(error), 1e-12)))
    moved = pose + step[:3]
    return BlockFit(moved, visible, float(np.sqrt(np.mean(error**2))))


def fit_block(share: NDArray[np.uint8], near: Floats | None = None) -> BlockFit | None:
    """Fit the T to the share of it in each pixel; `near`: pose of an earlier frame. None: not visible."""
    best: BlockFit | None = None
    for guess in itertools.chain([] if near is None else [near], _guesses(share)):
        fit = BlockFit(np.array(guess), 0.0, math.inf)
        for reach, tap in STAGES:
            fit = _refine(share, fit.pose, reach, tap)
        if best is None or (fit.visible_share, -fit.residual_px) > (best.visible_share, -best.residual_px):
            best = fit
        if best.visible_share > SURE_SHARE and best.residual_px < SURE_RESIDUAL_px:
            break
    if best is None:
        return None
    pose = np.array([best.pose[0], best.pose[1], wrap_angle(float(best.pose[2]))])
    return BlockFit(pose, best.visible_share, best.residual_px)


def look(rgb: NDArray[np.uint8], near: Floats | None = None) -> Sight:
    """Find the T and the disc in a frame, uint8 [height, width, 3] RGB."""
    block, agent = shares(rgb)
    fit = fit_block(block, near)
    disc = cv2.moments(cv2.threshold(agent, 127, 255, cv2.THRESH_BINARY)[1], binaryImage=True)
    if disc["m00"] < 100:
        return Sight(fit, None)
    return Sight(fit, np.array([disc["m10"], disc["m01"]]) / disc["m00"] + PIXEL_CENTRE_px)
