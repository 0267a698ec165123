"""What the simulator's ground truth says: for the verifier workbench only, never for a policy, a reset or a verdict."""

import math
from collections.abc import Mapping, Sequence

from touch_spot import spec
from touch_spot.start import START_KEYS

SUCCESS_SCORE = 1.0 - spec.TOUCH_px / spec.PLATE_px
START_TOLERANCE = spec.START_TOLERANCE_px
RESET_BY_TELEPORT = True


def label(truths: Sequence[Mapping[str, float]]) -> tuple[bool, float]:
    """(success, value) of an episode by the truth at each held frame; the value is the smallest score."""
    offs_px = [math.hypot(t["finger_x_px"] - t["spot_x_px"], t["finger_y_px"] - t["spot_y_px"]) for t in truths]
    value = 1.0 - min(1.0, max(offs_px) / spec.PLATE_px)
    return value >= SUCCESS_SCORE, value


def start_distance(asked: Mapping[str, float], truth: Mapping[str, float]) -> float:
    """Distance of the true state from an asked start, px."""
    return math.dist(*([start[key] for key in START_KEYS] for start in (asked, truth)))
