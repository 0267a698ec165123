"""The numbers of Push-T: goal, thresholds, camera, colours and tolerances. Frozen by the manifest.

Frame of reference: world pixels, x right, y down, both in [0, 512]; angles in rad, in (-pi, pi], positive from x to y.
Camera `top` shows the world one to one (see `nightlab.geometry` for the pixel-centre convention).
"""

from __future__ import annotations

NAME = "push_t"
GOAL_TEXT = "Push the grey T onto the green one with the blue disc: cover at least 95 % of the goal, and hold it."

RATE_HZ = 10.0
MAX_STEPS = 300
HELD_FRAMES = 5
"""Frames held at the end of an episode; success must hold in each."""

SUCCESS_COVERAGE = 0.95
"""Smallest coverage (share of the goal's area under the T, as gym-pusht defines it) on every judged frame."""
GUARD_BAND = (0.945, 0.955)
"""A coverage between these is too near to the threshold for one look: the episode is UNSURE and more frames are taken."""
SETTLE_MARGIN = 0.0003
"""What the settled coverage must have beyond the threshold: more than the largest error measured (0.0002, n 1200)."""
EXTRA_FRAMES = 5
"""Frames that settle an unsure look, in which the T is also found again where it was hidden for a moment."""
LIVE_COVERAGE = 0.955
"""The live check in `step` asks for a little more than the verifier, from the pose sensor averaged over 5 frames."""
LIVE_ERROR_px = 0.5
LIVE_MAX_FRAMES = 40
"""A noisy sensor is averaged over more frames, up to 40, until the standard error of the T's corners is 0.5 px."""
LIVE_MARGIN_per_px = 0.02
"""What the live check asks above LIVE_COVERAGE per px of that error (1 px shifts the coverage by about 0.02)."""
NEAR_MISS_COVERAGE = 0.90

CAMERA = "top"
CAMERA_SIZE_px = 512

AGENT_START_RANGE_px = (50.0, 450.0)
BLOCK_START_RANGE_px = (100.0, 400.0)

START_TOLERANCE_px = 3.0
"""Largest accepted distance of a teleported start from the asked one (see `reset.start_distance`)."""
NEAR_START_px = 40.0
"""The same where the disc pushed the T there: of the T's middle alone. The start is what was achieved, angle included."""
PUSHES = 12
"""Pushes in one attempt at most."""
PUSH_STEP_px = 10.0
"""How far the disc's target moves in a control period of a reset."""
RESET_ATTEMPTS = 3

SENSOR_TOLERANCE_px = 30.0
"""Pose sensor against camera, mean distance of the T's corners: over 4 sigma of the `hard` profile."""
AGENT_TOLERANCE_px = 40.0
"""Disc in the camera against the disc's sensor on the last frame, besides the way it moved over the held frames (the
sensor may be old); beyond it the frame is stale: a station fault."""
CAMERA_MOVED_px = 1
"""Facing walls of the table that are seen farther than this from their place mean that the camera was moved."""
MIN_VISIBLE_SHARE = 0.7
"""Share of the T's outline that must be seen (a disc on top hides a fifth); below it the T counts as hidden."""
MAX_FIT_RESIDUAL_px = 1.0
"""Root mean square distance of the seen outline from the fitted one."""
BLACK_LEVEL = 10.0
"""Mean grey value (0..255) under which a frame is black: a station fault."""

MOVED_px = 5.0
"""A T that ended nearer than this to its start (mean distance of corners) was never moved."""
ROTATED_rad = 0.1
SHIFTED_px = 10.0
AT_WALL_px = 3.0

FAILURE_REASONS = (
    "near_miss",  # coverage in [0.90, 0.95): finish better
    "not_held",  # some judged frames pass, others do not
    "never_moved",  # the T is where it started
    "at_wall",  # the T lies against a wall
    "moved_away",  # the T lies farther from the goal than at the start
    "rotated",  # right place, wrong angle
    "shifted",  # right angle, wrong place
    "missed_goal",  # wrong place and wrong angle
    "off_table",  # the T was pushed through a wall, out of the camera's view
    "hidden",  # the T cannot be seen
    "sensors_disagree",  # camera says yes, pose sensor says no
)
"""What `Verdict.reason` says of a FAILURE: the keys of the failure histogram."""

FAULT_REASONS = ("station_fault", "frames_missing", "camera_black", "camera_frozen", "camera_stale", "camera_moved")
"""What `Verdict.reason` says of an UNSCORED episode."""

PAPER_RGB = (255, 255, 255)
GOAL_RGB = (144, 238, 144)
BLOCK_RGB = (119, 136, 153)
AGENT_RGB = (65, 105, 225)
WALL_RGB = (211, 211, 211)
"""Colours of the scene as the camera sees them (gym-pusht's)."""
WALL_LOW_px, WALL_HIGH_px = (3, 7), (504, 508)
"""First pixel of the walls and the first after them, on either side of the picture."""
