"""The numbers of touch_spot. Pixels of the plate, x right, y down, 0 to 240; one camera pixel is one plate pixel."""

NAME = "touch_spot"
PLATE_px = 240
MAX_STEPS = 60
HELD_FRAMES = 3
TOUCH_px = 6.0
"""Largest distance of the centres that counts as touching."""
LIVE_px = 4.0
"""The live check in `step` asks for a little more than the verifier."""
NEAR_px = 30.0
MOVED_px = 5.0
MARGIN_px = 30
"""Starts keep this far from the rim."""
START_TOLERANCE_px = 2.0
RESET_ATTEMPTS = 3
CAMERA = "above"
FINGER_RGB, SPOT_RGB, PLATE_RGB = (30, 60, 220), (220, 40, 30), (250, 250, 250)
FINGER_RADIUS_px, SPOT_RADIUS_px = 6, 12
