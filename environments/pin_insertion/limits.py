"""The environment's safety limits: what reset and evidence may do, and the narrower frame that a policy acts in.

`LIMITS` go with the lease; the station intersects them with its own. `narrowed` is what `step` makes of a policy's
action: the left arm stays parked, both grippers stay as the reset left them, and the right arm's targets stay in a box
above the plate. A policy cannot widen either.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from environments.pin_insertion.spec import MAX_FORCE_N
from nightlab.records import LimitsSpec

Array = NDArray[np.float64]

_REACH_m, _TURN_rad = 0.7, 3.2
_POSE_LOW = (-_REACH_m, -_REACH_m, -0.05, -_TURN_rad, -_TURN_rad, -_TURN_rad)
_POSE_HIGH = (_REACH_m, _REACH_m, _REACH_m, _TURN_rad, _TURN_rad, _TURN_rad)
_WIDTH_m = 0.1
_STIFF_LOW, _STIFF_HIGH = (20.0, 0.5), (5000.0, 200.0)

LIMITS = LimitsSpec(
    action_low={
        "left_pose": _POSE_LOW, "right_pose": _POSE_LOW, "left_width": (0.0,), "right_width": (0.0,),
        "left_stiffness": _STIFF_LOW, "right_stiffness": _STIFF_LOW,
    },
    action_high={
        "left_pose": _POSE_HIGH, "right_pose": _POSE_HIGH, "left_width": (_WIDTH_m,), "right_width": (_WIDTH_m,),
        "left_stiffness": _STIFF_HIGH, "right_stiffness": _STIFF_HIGH,
    },
    max_step={"left_pose": (0.008,) * 3 + (0.1,) * 3, "right_pose": (0.008,) * 3 + (0.1,) * 3},
    late_periods=3,
    max_force_N=MAX_FORCE_N,
)  # fmt: skip
"""Frame `table`, m, rad, N/m, Nm/rad; at most 8 mm and 0.1 rad a control period on each axis."""

POLICY_REACH_m = 0.09
"""Sideways, from where the pin's tip started."""
POLICY_LOW_m, POLICY_HIGH_m = -0.12, 0.08
"""Down and up from where the episode started."""
POLICY_TILT_rad, POLICY_YAW_rad = 0.35, 0.8
"""About x and y, and about z, from tool straight down."""


def policy_box(start_pose: Array) -> tuple[Array, Array]:
    """Lowest and highest targets (6,) of the right arm for an episode that starts at a TCP pose (6,)."""
    x, y, z = (float(v) for v in start_pose[:3])
    tilt, yaw = POLICY_TILT_rad, POLICY_YAW_rad
    low = np.array([x - POLICY_REACH_m, y - POLICY_REACH_m, z + POLICY_LOW_m, -tilt, -tilt, -yaw])
    high = np.array([x + POLICY_REACH_m, y + POLICY_REACH_m, z + POLICY_HIGH_m, tilt, tilt, yaw])
    return low, high


def narrowed(
    action: Mapping[str, Array], kept: Mapping[str, Array], box: tuple[Array, Array]
) -> tuple[dict[str, Array], bool]:
    """The action that really runs, and whether the policy asked for more than it may.

    Only `right_pose` (cut to the box) and `right_stiffness` are the policy's; all else is `kept`. What is not finite or
    of the wrong shape goes through as it is, for the station's safety filter to refuse.
    """
    pose = np.asarray(action["right_pose"], dtype=np.float64)
    if pose.shape != (6,) or not np.isfinite(pose).all():
        return {**kept, "right_pose": pose, "right_stiffness": action["right_stiffness"]}, False
    cut = np.clip(pose, *box)
    out = {**kept, "right_pose": cut, "right_stiffness": np.asarray(action["right_stiffness"], dtype=np.float64)}
    return out, bool(np.any(cut != pose))
