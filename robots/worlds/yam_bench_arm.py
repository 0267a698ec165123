"""Inverse kinematics of the bench's arms, for placing them; moving them needs none (they are Cartesian springs)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from nightlab.errors import StationError
from robots.worlds.yam_bench_model import JOINT_RANGE_rad

Array = NDArray[np.float64]

REST_rad: Final = {"left": (-0.6, 0.4, 1.4, 1.34, 0.0, 0.6), "right": (0.6, 0.4, 1.4, 1.34, 0.0, -0.6)}
"""Joint angles from which the search begins: elbow up, tool down."""
ROUNDS: Final = 200
CLOSE: Final = 1e-5


def solve_ik(model: Any, data: Any, arm: str, pose: Sequence[float], start_rad: Sequence[float] | None = None) -> Array:
    """Joint angles (6,) rad of an arm whose TCP is at `pose` (table frame); damped least squares on scratch `data`.

    Raises:
        StationError: out of reach, within the joint limits.
    """
    import mujoco

    first = 0 if arm == "left" else 8
    site = model.site(f"{arm}_tcp").id
    q = np.array(REST_rad[arm] if start_rad is None else start_rad, dtype=np.float64)
    low, high = np.array(JOINT_RANGE_rad).T
    wanted, turn = np.array(pose[:3], dtype=np.float64), np.zeros(4)
    angle = float(np.linalg.norm(pose[3:]))
    axis = np.array(pose[3:], dtype=np.float64) / angle if angle > 1e-12 else np.array([0.0, 0.0, 1.0])
    mujoco.mju_axisAngle2Quat(turn, axis, angle)
    here, error = np.zeros(4), np.zeros(6)
    jac_t, jac_r = np.zeros((3, model.nv)), np.zeros((3, model.nv))
    for _ in range(ROUNDS):
        data.qpos[first : first + 6] = q
        mujoco.mj_kinematics(model, data)
        mujoco.mj_comPos(model, data)
        mujoco.mju_mat2Quat(here, data.site_xmat[site])
        error[:3] = wanted - data.site_xpos[site]
        back, rest = np.zeros(4), np.zeros(4)
        mujoco.mju_negQuat(back, here)
        mujoco.mju_mulQuat(rest, turn, back)
        mujoco.mju_quat2Vel(error[3:], rest, 1.0)
        if np.abs(error).max() < CLOSE:
            return q
        mujoco.mj_jacSite(model, data, jac_t, jac_r, site)
        jac = np.vstack([jac_t[:, first : first + 6], jac_r[:, first : first + 6]])
        short = error * min(1.0, 0.3 / float(np.abs(error).max()))
        q = np.clip(q + jac.T @ np.linalg.solve(jac @ jac.T + 1e-5 * np.eye(6), short), low, high)
    asked = ", ".join(f"{value:.3f}" for value in pose)
    raise StationError(f"the {arm} arm cannot reach ({asked}) m,m,m,rad,rad,rad within its joint limits")
