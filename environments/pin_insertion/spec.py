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

REGIONS_px = {"top": (90, 390, 170, 470), "side": (0, 400, 130, 510)}
"""First row, row after the last, first column, column after the last of what is kept of a judged frame; the rest is black.
Room for a plate that lies 10 mm off and a camera that was bumped into; it halves what an episode weighs."""

SUCCESS_DEPTH_m = 0.015
"""Smallest depth of the tip in the target hole, in both cameras."""
GUARD_BAND_m = (0.0148, 0.0152)
"""A depth between these is too near to the threshold for one look: the camera is UNSURE and more frames are taken."""
SETTLE_MARGIN_m = 0.0001
"""What the settled depth must have beyond the threshold, in both cameras: more than the error of 6 frames."""
EXTRA_FRAMES = 3
"""Held periods more, with a frame of each camera in each, that settle an unsure look."""
LATERAL_TOLERANCE_m = 0.006
"""Largest distance of the pin's axis from the target hole's, at the mouth, as a camera sees it; holes are 40 mm apart."""
UPRIGHT_rad = 0.35
"""A pin that leans more than this, as a camera sees it, stands in no hole."""
DEEPEST_m = 0.0265
"""A depth beyond the hole's 25 mm means that the pin lies."""
MIN_VISIBLE_SHARE = 0.45
"""Share of the head's outline that must be seen for a camera to have an opinion; below it the camera is blind."""
MIN_MARKERS, MAX_PLATE_MISFIT_m = 3, 0.0015
"""Markers of the plate that must be seen, and how far off they may lie, for a camera to know where the holes are."""
MAX_HEAD_MISFIT_m = 0.012
"""Root mean square distance of the measured head from a cube, per ray; depth noise of the `hard` profile is 5 mm."""
FREE_m = 0.012
"""A camera that measures this far behind the place where the head of an inserted pin would be sees that none is there. From
above the plate lies 26 mm behind it, a head ends before it."""
MAX_SPREAD_m = 0.003
"""Largest difference of the depth between frames of one camera; beyond it the pin moves."""
BLACK_LEVEL = 10.0
"""Mean grey value (0..255) under which a frame is black: a station fault."""
INSIDE_m = 0.001
"""A tip deeper than this is in a hole."""
NEAR_MISS_m = 0.012
RIM_m = 0.003
"""A tip this near to the hole, sideways and upwards, stands at its rim."""
FAR_m = 0.06
"""A tip this far from the mouth is as far as can be."""
CLOSE_m = 0.0005
"""What still matters in the score of a tip outside the hole, about half of the hole's diameter over the pin's."""
MAX_FORCE_N = 40.0
"""The force at either wrist must stay below it over the whole episode."""
TOPPLING_rad, TOPPLING_PERIODS = 0.35, 3
"""A pin that leans more than this in the gripper, by the pin sensor, for so many periods topples: nothing can succeed with
it, and pressing on would drop it."""
COME_OFF_m = 0.01
"""How far above where it is then the hand is sent."""
LIVE_DEPTH_m = 0.0165
"""The live check in `step` asks for a little more than the verifier, from the pin sensor averaged over 5 periods."""
LIVE_PERIODS = 5
RELEASE_DEPTH_m = 0.0145
"""A pin that stands deeper than this in a hole, by the sensors, is let go before the cameras look. Not sooner: a pin
that is let go drops to the bottom of the hole (measured from 3 mm on), so 5 mm would pass for success."""
RETREAT_m = 0.08
ASIDE_m = (0.13, -0.05)
"""How far up the gripper goes after it has let go, and then aside (x, y), out of the cameras' sight."""

HOLES = 4
"""Holes 0, 1 in the near row from left to right; 2, 3 in the far row. Shapes stand in `nightlab.pin_box`."""
IN_HOLE_m = 0.004
"""Largest sideways distance of a tip from the axis of the hole that it is in, sensor errors included."""

START_XY_m = 0.030
START_Z_m = (0.030, 0.060)
START_YAW_rad = 0.3
START_TOLERANCE_m = 0.004
"""Largest accepted distance of an achieved start from the asked one (see `start.start_distance`)."""
MAX_GRASP_TILT_rad = 0.03
MAX_GRASP_SLIP_m = 0.002
"""A pin that sits worse than this in the gripper, by the pin sensor, is handed over and back before the episode."""
RESET_ATTEMPTS = 3

FAILURE_REASONS = (
    "forced",  # inserted, but 40 N were reached
    "crashed",  # 40 N were reached, and the pin is not in the hole
    "near_miss",  # in the target hole, 12 to 15 mm deep
    "shallow",  # in the target hole, less than 12 mm deep
    "at_the_rim",  # the tip is at the mouth, not in it
    "beside_hole",  # the tip is somewhere else above the plate
    "wrong_hole",  # in another hole
    "dropped",  # the pin lies
    "not_held",  # the pin moved while it was watched
    "gone",  # the target hole is seen to be empty, and the pin is not seen
    "hidden",  # a camera cannot see the pin's head
)
"""What `Verdict.reason` says of a FAILURE: the keys of the failure histogram."""

FAULT_REASONS = (
    "station_fault", "frames_missing", "camera_black", "camera_frozen", "force_missing",
)  # fmt: skip
"""What `Verdict.reason` says of an UNSCORED episode."""
