"""The numbers of pin insertion: pin, holes, thresholds, starts, tolerances. Frozen by the manifest.

Frame `table`: origin at the centre of the table top, x from the left arm to the right arm, y away from the bases, z up;
metres, rad, N. A pose is x, y, z and a rotation vector; zero = tool straight down, jaws along x. Depth is measured from
the mouth of a hole down to the pin's tip.
"""

from __future__ import annotations

NAME = "pin_insertion"
WORLD = "yam_bench"
GOAL_TEXT = (
    "Insert the pin (3.8 mm, held by friction in the right gripper) into the target hole (4.2 mm): at least 15 mm deep, "
    "without ever pressing with 40 N."
)

RATE_HZ = 20.0
MAX_STEPS = 400
HELD_FRAMES = 3
"""Control periods held still at the end, with a frame of each camera in each."""
CAMERAS = ("top", "side")

SUCCESS_DEPTH_m = 0.015
"""Smallest depth of the tip in the target hole, in both cameras."""
MAX_FORCE_N = 40.0
"""The force at either wrist must stay below it over the whole episode."""
LIVE_DEPTH_m = 0.0165
"""The live check in `step` asks for a little more than the verifier, from the pin sensor averaged over 5 periods."""
LIVE_PERIODS = 5
RELEASE_DEPTH_m = 0.005
"""A pin that stands deeper than this in a hole, by the sensors, is let go before the cameras look."""
RETREAT_m = 0.08
"""How far up the gripper goes after it has let go; then aside, out of the cameras' sight."""

PIN_DIAMETER_m, PIN_LENGTH_m = 0.0038, 0.040
"""Shaft below the head, tip rounded."""
HEAD_m = 0.012
"""Side of the square head."""
HOLE_DIAMETER_m, HOLE_DEPTH_m = 0.0042, 0.025
HOLES = 4
HOLE_PITCH_m = 0.040
"""Holes 0, 1 in the near row from left to right; 2, 3 in the far row."""
IN_HOLE_m = 0.004
"""Largest sideways distance of a tip from the axis of the hole that it is in, sensor errors included."""

START_XY_m = 0.030
START_Z_m = (0.030, 0.060)
START_YAW_rad = 0.3
START_TOLERANCE_m = 0.003
START_TOLERANCE_rad = 0.06
"""Largest accepted distances of an achieved start from the asked one: of the tip, of the yaw."""
MAX_GRASP_TILT_rad = 0.05
MAX_GRASP_SLIP_m = 0.003
"""A pin that sits worse than this in the gripper, by the pin sensor, is handed over and back before the episode."""
RESET_ATTEMPTS = 3
