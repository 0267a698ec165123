"""The pin's head, a cube of 12 mm, fitted to the depth along the rays of its pixels.

From above a plane through its top face, else Gauss-Newton on the distances, along each pixel's ray, between what was
measured and the cube's surface. Which face a ray meets comes from the cube, not from the noise. All in the frame `plate`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from nightlab import pin_box as box

Floats = NDArray[np.float64]

MIN_HEAD_PX: Final = 60
"""Fewer orange pixels are no head: hidden."""
MOST_POINTS, FEW_POINTS = 400, 120
FIRST_ROUNDS, ROUNDS = 4, 5
PRIOR_TILT_rad: Final = 0.06
PRIOR_XY_m: Final = 0.01
DEPTH_SIGMA_m: Final = 0.001
YAWS: Final = 5
"""First guesses of the head's turn, over a quarter turn."""


@dataclass(frozen=True, slots=True)
class Cube:
    """A cube of the head's size."""

    centre: Floats
    turn: Floats
    misfit_m: float


def fit_top(eye: Floats, directions: Floats, measured: Floats, middle: Floats) -> Cube:
    """The cube seen from above: a plane through its top face, and the ray `middle` through the face's centre.

    Its turn about the axis is not told.
    """
    points = eye + directions * measured[:, None]
    x, y = points[:, 0] - points[:, 0].mean(), points[:, 1] - points[:, 1].mean()
    system = np.column_stack([np.ones(len(x)), x, y])
    keep: NDArray[np.bool_] = np.ones(len(x), dtype=np.bool_)
    plane, error = np.array([np.median(points[:, 2]), 0.0, 0.0]), points[:, 2] - np.median(points[:, 2])
    for _ in range(4):  # pixels on the edge of the head show what lies behind it
        spread = max(2e-4, 1.4826 * float(np.median(np.abs(error[keep]))))
        keep = np.abs(error) <= 3.0 * spread
        used = system[keep]
        normal = used.T @ used + np.diag([0.0, 1.0, 1.0]) * (spread / PRIOR_TILT_rad) ** 2
        plane = np.linalg.solve(normal, used.T @ points[keep, 2])
        error = points[:, 2] - system @ plane
    up = np.array([-plane[1], -plane[2], 1.0])
    up /= np.linalg.norm(up)
    anchor = np.array([points[:, 0].mean(), points[:, 1].mean(), plane[0]])
    face = eye + middle * float(up @ (anchor - eye)) / float(up @ middle)
    face[2] = plane[0]
    first = np.cross([0.0, 1.0, 0.0], up)
    first /= np.linalg.norm(first)
    turn = np.column_stack([first, np.cross(up, first), up])
    return Cube(face - up * box.HEAD_m / 2, turn, float(np.sqrt(np.mean(error[keep] ** 2))))


def fit_cube(eye: Floats, directions: Floats, measured: Floats) -> Cube:
    """The cube whose surface lies where the rays from `eye` along `directions` (plate frame) were measured."""
    points = eye + directions * measured[:, None]
    middle = np.median(points, axis=0)
    away = middle - eye
    start = middle + away / np.linalg.norm(away) * box.HEAD_m / 2
    few = slice(None, None, max(1, len(measured) // FEW_POINTS))
    guesses = np.array([_upright(math.pi / 2 * number / YAWS) for number in range(YAWS)])
    found = _descend(eye, directions[few], measured[few], start, guesses, FIRST_ROUNDS)
    best = min(found, key=lambda cube: cube.misfit_m)
    most = slice(None, None, max(1, len(measured) // MOST_POINTS))
    return _descend(eye, directions[most], measured[most], best.centre, best.turn[None], ROUNDS)[0]


def _upright(yaw_rad: float) -> Floats:
    c, s = math.cos(yaw_rad), math.sin(yaw_rad)
    return np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])


def _descend(
    eye: Floats, directions: Floats, measured: Floats, start: Floats, turns: Floats, rounds: int
) -> list[Cube]:
    """Gauss-Newton from each of several first guesses of the turn, [guesses, 3, 3]: all of them in one go of NumPy.

    A guess that too few rays meet stays where it is.
    """
    half, turn = box.HEAD_m / 2, turns.copy()
    centre = np.repeat(start[None], len(turn), axis=0)
    misfit: Floats = np.full(len(turn), math.inf)
    going: NDArray[np.bool_] = np.ones(len(turn), dtype=np.bool_)
    for _ in range(rounds):
        predicted, normals, hit = _cast(eye, directions, centre, turn, half)
        met = np.count_nonzero(hit, axis=1)
        going &= met >= MIN_HEAD_PX // 4
        if not going.any():
            break
        met = np.maximum(met, 1)
        predicted = np.where(hit, predicted, measured)
        error = measured - predicted
        along = np.where(hit, np.einsum("gij,ij->gi", normals, directions), 1.0)
        arm = eye + directions * predicted[..., None] - centre[:, None]
        jacobian = np.concatenate([normals, _cross(arm, normals)], axis=2) / along[..., None]
        limit = 3.0 * np.maximum(2e-4, 1.4826 * _medians(np.where(hit, np.abs(error), np.inf), met))[:, None]
        weight = hit * np.minimum(1.0, limit / np.maximum(np.abs(error), 1e-12)) / DEPTH_SIGMA_m**2
        weighed = (jacobian * weight[..., None]).transpose(0, 2, 1)
        system, right = weighed @ jacobian, (weighed @ error[..., None])[..., 0]
        system[:, [0, 1], [0, 1]] += 1 / PRIOR_XY_m**2
        right[:, :2] += (start[:2] - centre[:, :2]) / PRIOR_XY_m**2
        system[:, [3, 4], [3, 4]] += 1 / PRIOR_TILT_rad**2
        lean = np.column_stack([-turn[:, 1, 2], turn[:, 0, 2]])  # the rotation that made it lean
        right[:, 3:5] -= lean / PRIOR_TILT_rad**2
        system[:, [2, 5], [2, 5]] += 1.0, 1e3  # whatever a guess that no ray meets leaves open
        step = np.linalg.solve(system, right[..., None])[..., 0]
        off = np.sqrt(np.sum(np.minimum(error**2, limit**2) * hit, axis=1) / met) + 0.002 * np.mean(~hit, axis=1)
        misfit = np.where(going, off, misfit)
        centre = centre + np.where(going[:, None], np.clip(step[:, :3], -0.006, 0.006), 0.0)
        spin = np.where(going[:, None], np.clip(step[:, 3:], -0.3, 0.3), 0.0)
        turn = np.array([cv2.Rodrigues(one)[0] for one in spin]) @ turn
    return [Cube(*found) for found in zip(centre, turn, misfit.tolist(), strict=True)]


def _medians(values: Floats, counts: NDArray[np.int_]) -> Floats:
    """Median of each row's `counts` smallest values."""
    ranked, rows = np.sort(values, axis=1), np.arange(len(values))
    return np.asarray((ranked[rows, (counts - 1) // 2] + ranked[rows, counts // 2]) / 2, dtype=np.float64)


def _cross(a: Floats, b: Floats) -> Floats:
    """Cross products along the last axis; NumPy's own takes three times as long for so few."""
    ax, ay, az = a[..., 0], a[..., 1], a[..., 2]
    bx, by, bz = b[..., 0], b[..., 1], b[..., 2]
    return np.stack([ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx], axis=-1)


def _cast(
    eye: Floats, directions: Floats, centre: Floats, turn: Floats, half: float
) -> tuple[Floats, Floats, NDArray[np.bool_]]:
    """Depth at which each ray meets each cube, the outward normal there (plate frame), and whether it does."""
    origin = ((eye - centre)[:, None] @ turn)[:, 0]
    local = directions @ turn
    safe = np.where(np.abs(local) < 1e-9, 1e-9, local)
    side, inverse = np.sign(safe), 1.0 / safe
    middle, reach = -origin[:, None] * inverse, half * np.abs(inverse)
    enter = middle - reach
    face = np.argmax(enter, axis=2)[..., None]
    near = np.take_along_axis(enter, face, axis=2)[..., 0]
    hit = near <= (middle + reach).min(axis=2)
    faces = turn.transpose(0, 2, 1)[np.arange(len(turn))[:, None], face[..., 0]]
    return near, -np.take_along_axis(side, face, axis=2) * faces, hit
