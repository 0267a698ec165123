"""Where an episode starts, from its seed alone."""

import random

from touch_spot.spec import MARGIN_px, PLATE_px

START_KEYS = ("finger_x_px", "finger_y_px", "spot_x_px", "spot_y_px")
"""Keys of a start, as the world's `teleport` takes them."""


def sample_start(seed: int) -> dict[str, float]:
    """The start of `seed`, px. `random.Random(seed).random()` gives the same numbers in every Python."""
    draw = random.Random(seed).random
    return {key: MARGIN_px + (PLATE_px - 2 * MARGIN_px) * draw() for key in START_KEYS}
