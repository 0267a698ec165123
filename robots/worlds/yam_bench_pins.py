"""Where the pins of a bench really are: for the sensors to add their noise to, and for the truth."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from nightlab import pin_box as box

HELD_m: Final = 0.02
"""A pin whose head is this close to the TCP is in the gripper."""

Array = NDArray[np.float64]


class Pins:
    """Looks at an MjData; positions must be up to date.

    Args:
        model: the bench's MjModel.
        data: its MjData.
        mouths: the holes' mouths in the table frame, m.
        count: how many pins there are.
    """

    def __init__(self, model: Any, data: Any, mouths: Sequence[Sequence[float]], count: int) -> None:
        self.bodies = [model.body(f"pin_{number}").id for number in range(count)]
        self._model, self._data, self._mouths = model, data, mouths
        self._tcp = model.site("right_tcp").id
        self._plate = model.body("plate").id

    def held(self) -> int | None:
        """The pin whose head is in the right gripper."""
        tcp = self._data.site_xpos[self._tcp]
        for number, body in enumerate(self.bodies):
            turn = self._data.xmat[body].reshape(3, 3)
            if np.linalg.norm(self._data.xpos[body] + turn[:, 2] * box.GRASP_TO_TIP_m - tcp) < HELD_m:
                return number
        return None

    def pose(self, number: int | None) -> Array:
        """Tip (m) and rotation vector (rad) of a pin, (6,); None: of one that the right gripper would hold as drawn."""
        import mujoco

        out, turn, data = np.zeros(6), np.zeros(4), self._data
        if number is None:
            frame = data.site_xmat[self._tcp]
            out[:3] = data.site_xpos[self._tcp] - frame.reshape(3, 3)[:, 2] * box.GRASP_TO_TIP_m
            mujoco.mju_mat2Quat(turn, frame)
        else:
            out[:3] = data.xpos[self.bodies[number]]
            turn = data.xquat[self.bodies[number]].copy()
        mujoco.mju_quat2Vel(out[3:], turn, 1.0)
        return out

    def depth_m(self, hole: int) -> float:
        """How deep the deepest pin stands in a hole; 0: none does."""
        mouth, deep = np.array(self._mouths[hole]), 0.0
        for body in self.bodies:
            off = self._data.xpos[body] - mouth
            if math.hypot(off[0], off[1]) < box.HOLE_DIAMETER_m / 2:
                deep = max(deep, float(-off[2]))
        return deep

    def touch_plate(self) -> bool:
        """Whether any pin touches the plate."""
        pins, bodies = set(self.bodies), self._model.geom_bodyid
        pairs = ((int(bodies[c.geom1]), int(bodies[c.geom2])) for c in self._data.contact[: self._data.ncon])
        return any(self._plate in pair and not pins.isdisjoint(pair) for pair in pairs)

    def truth(self, hole: int) -> dict[str, float]:
        """Pose of the held pin (else of pin 0), tip from the mouth of `hole`, further pins, mouths, depths, contact."""
        held = self.held()
        pose = self.pose(0 if held is None else held)
        out = dict(zip(("tip_x_m", "tip_y_m", "tip_z_m"), (pose[:3] - self._mouths[hole]).tolist(), strict=True))
        for key, value in zip(("x_m", "y_m", "z_m", "rx_rad", "ry_rad", "rz_rad"), pose.tolist(), strict=True):
            out[f"pin_{key}"] = value
        for number, body in enumerate(self.bodies[1:], start=1):
            for axis, value in zip("xyz", self._data.xpos[body].tolist(), strict=True):
                out[f"pin_{number}_{axis}_m"] = value
        for number, mouth in enumerate(self._mouths):
            for axis, value in zip("xyz", mouth, strict=True):
                out[f"mouth_{number}_{axis}_m"] = value
            out[f"depth_{number}_m"] = self.depth_m(number)
        out["depth_m"] = out[f"depth_{hole}_m"]
        out["held"] = float(held is not None)
        out["touches_plate"] = float(self.touch_plate())
        return out
