"""What the simulator's ground truth says about pin insertion: for the verifier workbench only, never for a policy or a reset.

`label` says by the truth what the verdict ought to be, `start_distance` how far a reset missed (with START_TOLERANCE).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from environments.pin_insertion.spec import MAX_FORCE_N, START_TOLERANCE_m, SUCCESS_DEPTH_m
from environments.pin_insertion.start import start_distance as distance_m

START_TOLERANCE = START_TOLERANCE_m
"""Largest `start_distance` of a reset that counts as done, m."""
RESET_BY_TELEPORT = False
"""A reset moves the arms; SimulatorAdmin only announces the episode."""


def label(truths: Sequence[Mapping[str, float]]) -> tuple[bool, float]:
    """(success, value) of an episode by the truth at each frame; the value is the smallest depth in the target hole, m."""
    depth_m = min(float(truth["depth_m"]) for truth in truths)
    force_N = max(float(truth["peak_force_N"]) for truth in truths)
    return depth_m >= SUCCESS_DEPTH_m and force_N < MAX_FORCE_N, depth_m


def start_distance(asked: Mapping[str, float], truth: Mapping[str, float]) -> float:
    """Distance of the true state from an asked start, m: of the tip, or of the yaw at 50 mm."""
    return distance_m(asked, truth)
