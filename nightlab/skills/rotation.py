"""Rotation vectors (axis times angle, rad): to matrices and back, composed, applied. Pure numpy, no scipy in sandboxes."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

SMALL_rad = 1e-9


def to_matrix(rotvec: Array) -> Array:
    """Rotation matrix [3, 3] of a rotation vector (3,) rad (Rodrigues)."""
    angle = float(np.sqrt(rotvec @ rotvec))
    if angle < SMALL_rad:
        return np.eye(3)
    x, y, z = rotvec / angle
    cross = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    matrix: Array = np.eye(3) + math.sin(angle) * cross + (1.0 - math.cos(angle)) * (cross @ cross)
    return matrix


def to_rotvec(matrix: Array) -> Array:
    """Rotation vector (3,) rad of a rotation matrix [3, 3], angle in [0, pi]."""
    off = np.array([matrix[2, 1] - matrix[1, 2], matrix[0, 2] - matrix[2, 0], matrix[1, 0] - matrix[0, 1]])
    sine, cosine = float(np.sqrt(off @ off)) / 2.0, (float(np.trace(matrix)) - 1.0) / 2.0
    angle = math.atan2(sine, cosine)
    if angle < SMALL_rad:
        return np.zeros(3)
    if math.pi - angle > 1e-4:
        return np.asarray(off * (angle / (2.0 * sine)))
    column = int(np.argmax(np.diag(matrix)))  # near half a turn the antisymmetric part vanishes
    axis = matrix[:, column] + np.eye(3)[column]
    axis = axis / np.sqrt(axis @ axis)
    return np.asarray(axis * (angle if axis @ off >= 0 else -angle))


def compose(first: Array, then: Array) -> Array:
    """Rotation vector of turning by `first`, then by `then`, both about the axes of the fixed frame."""
    return to_rotvec(to_matrix(then) @ to_matrix(first))


def between(start: Array, goal: Array) -> Array:
    """Rotation vector about the fixed axes that takes `start` to `goal`, the short way round."""
    return to_rotvec(to_matrix(goal) @ to_matrix(start).T)


def rotate(rotvec: Array, vector: Array) -> Array:
    """A vector (3,) turned by a rotation vector."""
    turned: Array = to_matrix(rotvec) @ vector
    return turned


def tilt_rad(rotvec: Array) -> float:
    """Angle between the turned z axis and z, rad."""
    return math.acos(max(-1.0, min(1.0, float(to_matrix(rotvec)[2, 2]))))


def lean_rad(tool: Array, pin: Array) -> float:
    """Angle between the turned z axes of two rotation vectors, rad: a turn of either about its own axis is none."""
    return math.acos(max(-1.0, min(1.0, float(to_matrix(tool)[:, 2] @ to_matrix(pin)[:, 2]))))
