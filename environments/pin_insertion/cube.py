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
    guesses = [_upright(math.pi / 2 * number / YAWS) for number in range(YAWS)]
    found = [_descend(eye, directions[few], measured[few], start, guess, FIRST_ROUNDS) for guess in guesses]
    best = min(found, key=lambda cube: cube.misfit_m)
    most = slice(None, None, max(1, len(measured) // MOST_POINTS))
    return _descend(eye, directions[most], measured[most], best.centre, best.turn, ROUNDS)


def _upright(yaw_rad: float) -> Floats:
    c, s = math.cos(yaw_rad), math.sin(yaw_rad)
    return np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])


def _descend(eye: Floats, directions: Floats, measured: Floats, start: Floats, turn: Floats, rounds: int) -> Cube:
    """Gauss-Newton from one first guess."""
    half, centre = box.HEAD_m / 2, start.copy()
    misfit = math.inf
    for _ in range(rounds):
        predicted, normals, hit = _cast(eye, directions, centre, turn, half)
        if np.count_nonzero(hit) < MIN_HEAD_PX // 4:
            break
        error = measured[hit] - predicted[hit]
        n, rays = normals[hit], directions[hit]
        along = np.einsum("ij,ij->i", n, rays)
        arm = eye + rays * predicted[hit][:, None] - centre
        jacobian = np.column_stack([n, np.cross(arm, n)]) / along[:, None]
        limit = 3.0 * max(2e-4, 1.4826 * float(np.median(np.abs(error))))
        weight = np.minimum(1.0, limit / np.maximum(np.abs(error), 1e-12)) / DEPTH_SIGMA_m**2
        system = (jacobian * weight[:, None]).T @ jacobian
        right = (jacobian * weight[:, None]).T @ error
        system[:2, :2] += np.eye(2) / PRIOR_XY_m**2
        right[:2] += (start[:2] - centre[:2]) / PRIOR_XY_m**2
        lean = np.array([-turn[1, 2], turn[0, 2]])  # the rotation that made it lean
        system[3:5, 3:5] += np.eye(2) / PRIOR_TILT_rad**2
        right[3:5] -= lean / PRIOR_TILT_rad**2
        system[5, 5] += 1e3
        step = np.linalg.solve(system, right)
        step[:3] = np.clip(step[:3], -0.006, 0.006)
        step[3:] = np.clip(step[3:], -0.3, 0.3)
        centre = centre + step[:3]
        turn = cv2.Rodrigues(step[3:])[0] @ turn
        misfit = float(np.sqrt(np.mean(np.minimum(error**2, limit**2)))) + 0.002 * float(np.mean(~hit))
    return Cube(centre, turn, misfit)


def _cast(
    eye: Floats, directions: Floats, centre: Floats, turn: Floats, half: float
) -> tuple[Floats, Floats, NDArray[np.bool_]]:
    """Depth at which each ray meets the cube, the outward normal there (plate frame), and whether it does."""
    origin = (eye - centre) @ turn
    local = directions @ turn
    safe = np.where(np.abs(local) < 1e-9, 1e-9, local)
    enter = (-np.sign(safe) * half - origin) / safe
    leave = (np.sign(safe) * half - origin) / safe
    face = np.argmax(enter, axis=1)
    near = enter[np.arange(len(face)), face]
    hit = near <= leave.min(axis=1)
    sign = -np.sign(local[np.arange(len(face)), face])
    normals = (turn[:, face] * sign).T
    return near, normals, hit
