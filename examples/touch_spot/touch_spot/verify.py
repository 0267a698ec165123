"""The frozen verifier: finger and spot in the camera's frames, by their colours."""

import math
import time

import numpy as np
from numpy.typing import NDArray

from nightlab.contracts import EpisodeEvidence
from nightlab.records import Outcome, Predicate, Verdict
from touch_spot import spec

LEAST_px = 20
"""Fewest pixels of a colour that count as seeing it."""


class TouchSpotVerifier:
    """Implements `nightlab.contracts.Verifier`."""

    def __init__(self, manifest_sha256: str = "") -> None:
        self.manifest_sha256 = manifest_sha256

    def verify(self, evidence: EpisodeEvidence) -> Verdict:
        """SUCCESS if the finger is on the spot in every frame; UNSCORED only if the station gave no usable frames."""
        begin_s = time.perf_counter()
        pictures = [frame.rgb for frame in evidence.frames]
        if len(pictures) < spec.HELD_FRAMES or any(picture.mean() < 10 for picture in pictures):
            return self._verdict(Outcome.UNSCORED, 0.0, "frames_missing", (), begin_s)
        places = [(centre(picture, spec.FINGER_RGB), centre(picture, spec.SPOT_RGB)) for picture in pictures]
        offs_px = [math.dist(finger, spot) for finger, spot in places if finger is not None and spot is not None]
        seen = len(offs_px) == len(pictures)
        worst_px = max(offs_px) if seen else None
        predicates = (
            Predicate(name="seen", value=len(offs_px) / len(pictures), low=1.0, passed=seen),
            Predicate(
                name="distance",
                value=worst_px,
                high=spec.TOUCH_px,
                passed=worst_px is not None and worst_px <= spec.TOUCH_px,
                unit="px",
            ),
        )
        if worst_px is None:
            return self._verdict(Outcome.FAILURE, 0.0, "hidden", predicates, begin_s)
        score = 1.0 - min(1.0, worst_px / spec.PLATE_px)
        if worst_px <= spec.TOUCH_px:
            return self._verdict(Outcome.SUCCESS, score, "held", predicates, begin_s)
        finger = places[-1][0]
        start = (evidence.start.get("finger_x_px", math.inf), evidence.start.get("finger_y_px", math.inf))
        if finger is not None and math.dist(finger, start) < spec.MOVED_px:
            reason = "never_moved"
        else:
            reason = "beside" if worst_px <= spec.NEAR_px else "far_off"
        return self._verdict(Outcome.FAILURE, score, reason, predicates, begin_s)

    def _verdict(
        self, outcome: Outcome, score: float, reason: str, predicates: tuple[Predicate, ...], begin_s: float
    ) -> Verdict:
        return Verdict(
            outcome=outcome,
            score=score,
            reason=reason,
            predicates=predicates,
            latency_s=time.perf_counter() - begin_s,
            verifier_sha256=self.manifest_sha256,
        )


def centre(picture: NDArray[np.uint8], rgb: tuple[int, int, int]) -> tuple[float, float] | None:
    """Centre (x, y) px of the pixels of one colour, the middle of their extent; None if there are too few."""
    near = np.abs(picture.astype(np.int16) - np.array(rgb)).max(axis=2) < 40
    if np.count_nonzero(near) < LEAST_px:
        return None
    y, x = np.nonzero(near)
    return (float(x.min() + x.max()) / 2, float(y.min() + y.max()) / 2)
