"""The environment's safety limits; the station intersects them with its own."""

from nightlab.records import LimitsSpec
from touch_spot.spec import PLATE_px

LIMITS = LimitsSpec(
    action_low={"target_xy": (0.0, 0.0)},
    action_high={"target_xy": (float(PLATE_px), float(PLATE_px))},
    max_step={"target_xy": (40.0, 40.0)},
)
