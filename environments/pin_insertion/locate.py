"""Where a pin is that no gripper holds, in the frame `table`, from the cameras: for the reset, which has to fetch it.

The cameras tell where the head is on the plate; where the plate lies on the table follows from the station's estimate of
the target hole, which is better than a camera that was bumped into, and its turn from the camera's drawing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from environments.pin_insertion.patches import HUES, MIN_SATURATION, MIN_VALUE
from environments.pin_insertion.plate import Plate
from environments.pin_insertion.start import hole_offset
from environments.pin_insertion.vision import Head, look
from nightlab import pin_box as box
from nightlab.contracts import Frame, Values
from nightlab.skills.pin import UPRIGHT_rad
from nightlab.skills.rotation import compose, tilt_rad, to_matrix

Array = NDArray[np.float64]

LOWEST_HEAD_m = box.GRASP_TO_TIP_m - box.HOLE_DEPTH_m - 0.003
"""A head whose centre is lower than this over the plate belongs to a pin that lies."""
RACK_px = {"top": slice(490, None), "side": slice(None, 98)}
"""Columns of a picture, px, where the further pins of a bench stand in their rack: their heads are not looked at. No start and
no hole of a plate that lies where a profile may put it comes nearer than 30 px."""


@dataclass(frozen=True, slots=True)
class Found:
    """A pin that was found."""

    pose: Array
    """(6,) as `pin_estimate`: tip and rotation vector, table frame."""
    head: Array
    """(3,) m, centre of the head, table frame."""
    lies: bool
    """Whether it lies, or leans on something, instead of standing in a hole."""


def locate(frames: Sequence[Frame], values: Values) -> Found | None:
    """The pin, from one frame of each camera and an observation; None if no camera sees its head and the plate."""
    sights = [(frame, look(frame)) for frame in map(without_rack, frames)]
    seen = [(frame, sight.plate, sight.head) for frame, sight in sights if sight.plate and sight.head]
    if not seen:
        return None
    frame, plate, head = seen[0]  # the first camera looks from above: best for where, and for the head's turn
    yaw = plate_yaw(frame.camera, plate)
    turn = to_matrix(np.array([0.0, 0.0, yaw]))
    middle = plate_middle(values, yaw)
    centre = middle + turn @ head.centre
    axis = turn @ head.axis
    head_yaw = head_turn(frame) if frame.camera == "top" else 0.0
    lean = np.array([-axis[1], axis[0], 0.0])
    size = float(np.hypot(lean[0], lean[1]))
    tilt = lean * (math.atan2(size, float(axis[2])) / size) if size > 1e-9 else np.zeros(3)
    rotvec = compose(np.array([0.0, 0.0, head_yaw]), tilt)
    pose = np.concatenate([centre - axis * box.GRASP_TO_TIP_m, rotvec])
    return Found(pose, centre, float(head.centre[2]) < LOWEST_HEAD_m or tilt_rad(rotvec) > UPRIGHT_rad)


def without_rack(frame: Frame) -> Frame:
    """A frame with the columns of the rack black."""
    if frame.camera not in RACK_px:
        return frame
    rgb = frame.rgb.copy()
    rgb[:, RACK_px[frame.camera]] = 0
    return replace(frame, rgb=rgb)


def plate_yaw(camera: str, plate: Plate) -> float:
    """Turn of the plate about the vertical, rad, if the camera were where the drawing has it."""
    position, target, _ = box.CAMERAS[camera]
    right, up, back = (np.array(row) for row in box.look_at(position, target))
    to_table = np.stack([right, -up, -back], axis=1)
    turn = to_table @ plate.turn.T
    return math.atan2(float(turn[1, 0]), float(turn[0, 0]))


def plate_middle(values: Values, yaw_rad: float) -> Array:
    """Centre of the plate's top (3,) m in the table frame, from the estimate of the target hole."""
    x, y = hole_offset(round(float(values["target_hole"][0])))
    offset = to_matrix(np.array([0.0, 0.0, yaw_rad])) @ np.array([x, y, 0.0])
    middle: Array = np.asarray(values["hole_estimate"], dtype=np.float64) - offset
    return middle


def held_tip(frames: Sequence[Frame]) -> tuple[Array, Head] | None:
    """Tip (3,) m in the plate's frame of a pin in the gripper, from the camera that sees its head best."""
    best: Head | None = None
    for frame in frames:
        sight = look(without_rack(frame))
        if sight.head is not None and (best is None or sight.head.visible_share > best.visible_share):
            best = sight.head
    return None if best is None else (best.centre - best.axis * box.GRASP_TO_TIP_m, best)


def head_turn(frame: Frame) -> float:
    """Turn of the head's faces about the vertical, rad, modulo a quarter turn, from the picture of camera `top`."""
    hsv = cv2.cvtColor(frame.rgb, cv2.COLOR_RGB2HSV)
    low, high = HUES["orange"]
    mask = cv2.inRange(hsv, (low, MIN_SATURATION, MIN_VALUE), (high, 255, 255))
    outlines, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    if not outlines:
        return 0.0
    _, _, angle_deg = cv2.minAreaRect(max(outlines, key=cv2.contourArea))
    return math.remainder(-math.radians(angle_deg), math.pi / 2)
