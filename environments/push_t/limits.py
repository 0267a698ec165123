"""The environment's safety limits. The station intersects them with its own; a policy cannot widen either."""

from __future__ import annotations

from nightlab.records import LimitsSpec

LIMITS = LimitsSpec(
    action_low={"target_xy": (0.0, 0.0)},
    action_high={"target_xy": (512.0, 512.0)},
    max_step={"target_xy": (80.0, 80.0)},
    late_periods=3,
)
"""Targets of the disc inside the picture, px, at most 80 px a control period on each axis."""
