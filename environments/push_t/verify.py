"""The frozen judge of Push-T: coverage from camera frames, checked against the pose sensor.

Success needs all of: the T seen in every held frame, a clean fit, coverage >= 0.95 in every frame, and a pose sensor
that agrees. Only a fault of the station (no, black, frozen or stale frames) leaves an episode UNSCORED; a T that
cannot be found is FAILURE, or hiding it would pay.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from environments.push_t import spec
from environments.push_t.start import START_KEYS
from environments.push_t.vision import BlockFit, Sight, look
from nightlab.contracts import EpisodeEvidence, Frame
from nightlab.geometry import GOAL_POSE, coverage, keypoint_error, t_outline, t_touches_wall
from nightlab.records import Outcome, Predicate, Verdict

NO_FIT_px = 1e9
"""Stands for an infinite residual, which JSON has not."""


class PushTVerifier:
    """Implements `nightlab.contracts.Verifier`. Without state: the same evidence, the same verdict."""

    def __init__(self, manifest_sha256: str = "") -> None:
        self.manifest_sha256 = manifest_sha256

    def verify(self, evidence: EpisodeEvidence) -> Verdict:
        """Judge one episode; about 4 ms of CPU per frame that differs from the one before."""
        begin = time.perf_counter()
        fault = station_fault(evidence)
        if fault is not None:
            return self._verdict(Outcome.UNSCORED, 0.0, *fault, begin)
        sights = _sights(evidence.frames)
        stale = _stale_camera(evidence, sights)
        if not stale.passed:
            return self._verdict(Outcome.UNSCORED, 0.0, "camera_stale", (stale,), begin)
        fits = [sight.block for sight in sights if sight.block is not None]
        scores = [coverage(fit.pose.tolist()) for fit in fits] if len(fits) == len(sights) else [0.0]
        predicates = (*_predicates(evidence, fits, scores), stale)
        failed = {predicate.name for predicate in predicates if not predicate.passed}
        if not failed:
            return self._verdict(Outcome.SUCCESS, min(scores), "held", predicates, begin)
        if failed & {"block_visible", "fit_residual"}:
            return self._verdict(Outcome.FAILURE, 0.0, _unseen(evidence), predicates, begin)
        reason = _failure(evidence, fits, scores, failed)
        return self._verdict(Outcome.FAILURE, min(scores), reason, predicates, begin)

    def _verdict(
        self, outcome: Outcome, score: float, reason: str, predicates: tuple[Predicate, ...], begin_s: float
    ) -> Verdict:
        return Verdict(
            outcome=outcome,
            score=min(max(score, 0.0), 1.0),
            reason=reason,
            predicates=predicates,
            latency_s=time.perf_counter() - begin_s,
            verifier_sha256=self.manifest_sha256,
        )


def station_fault(evidence: EpisodeEvidence) -> tuple[str, tuple[Predicate, ...]] | None:
    """A fault of the station that makes the evidence worthless: reason and the predicate that failed, or None."""
    frames = evidence.frames
    brightness = min((float(frame.rgb[::8, ::8].mean()) for frame in frames), default=0.0)
    checks = [
        ("station_fault", _at_most("station_faults", float(len(evidence.faults)), 0.0)),
        ("frames_missing", _at_least("frames", float(len(frames)), float(spec.HELD_FRAMES))),
        ("frames_missing", _at_least("usable_frames", float(_usable(frames)), float(len(frames)))),
        ("frames_missing", _at_least("observations", float(len(evidence.observations)), float(len(frames)))),
        ("camera_black", _at_least("brightness", brightness, spec.BLACK_LEVEL)),
        ("camera_frozen", _at_least("new_frames", float(_advancing(frames)), float(len(frames)))),
    ]
    for reason, predicate in checks:
        if not predicate.passed:
            return reason, (predicate,)
    return None


def _usable(frames: Sequence[Frame]) -> int:
    shape = (spec.CAMERA_SIZE_px, spec.CAMERA_SIZE_px, 3)
    return sum(f.camera in (spec.CAMERA, "") and f.rgb.shape == shape and f.rgb.dtype == np.uint8 for f in frames)


def _advancing(frames: Sequence[Frame]) -> int:
    """Frames that are newer than the one before, by the camera's counter."""
    seqs = [frame.seq for frame in frames]
    return sum(1 for i, seq in enumerate(seqs) if i == 0 or seq > seqs[i - 1])


def _sights(frames: Sequence[Frame]) -> list[Sight]:
    """What is seen in each frame; a frame equal to the one before is not looked at again."""
    sights: list[Sight] = []
    for i, frame in enumerate(frames):
        if i and (frame.rgb is frames[i - 1].rgb or np.array_equal(frame.rgb, frames[i - 1].rgb)):
            sights.append(sights[-1])
            continue
        before = sights[-1].block if sights else None
        sights.append(look(frame.rgb, None if before is None else before.pose))
    return sights


def _stale_camera(evidence: EpisodeEvidence, sights: Sequence[Sight]) -> Predicate:
    """Whether the last frame shows the disc where its sensor says; passes if the disc is under the T, unseen."""
    seen = sights[-1].agent_xy
    if seen is None:
        return _at_most("camera_is_live", None, spec.AGENT_TOLERANCE_px, "px")
    told = np.asarray(evidence.observations[-1]["agent_xy"], dtype=np.float64)
    return _at_most("camera_is_live", float(np.hypot(*(seen - told))), spec.AGENT_TOLERANCE_px, "px")


def _predicates(evidence: EpisodeEvidence, fits: Sequence[BlockFit], scores: Sequence[float]) -> tuple[Predicate, ...]:
    """The conditions of success that the T itself must meet."""
    seen_in_all = len(fits) == len(evidence.frames)
    visible = min(fit.visible_share for fit in fits) if seen_in_all else 0.0
    residual = min(max(fit.residual_px for fit in fits), NO_FIT_px) if seen_in_all else None
    apart = None
    if fits:
        apart = keypoint_error(_sensed(evidence).tolist(), fits[-1].pose.tolist())
    return (
        _at_least("block_visible", visible, spec.MIN_VISIBLE_SHARE),
        _at_most("fit_residual", residual, spec.MAX_FIT_RESIDUAL_px, "px"),
        _at_least("coverage_held", min(scores), spec.SUCCESS_COVERAGE),
        _at_most("sensors_agree", apart, spec.SENSOR_TOLERANCE_px, "px"),
    )


def _sensed(evidence: EpisodeEvidence) -> NDArray[np.float64]:
    """The pose sensor's last word."""
    return np.asarray(evidence.observations[-1]["block_pose"], dtype=np.float64)


def _unseen(evidence: EpisodeEvidence) -> str:
    """Why the T is not seen: by the pose sensor it left the picture, or it is hidden."""
    corners = t_outline(_sensed(evidence).tolist())
    return "off_table" if corners.min() < 0 or corners.max() > spec.CAMERA_SIZE_px else "hidden"


def _failure(evidence: EpisodeEvidence, fits: Sequence[BlockFit], scores: Sequence[float], failed: set[str]) -> str:
    """One word of FAILURE_REASONS: the key of the failure histogram that researchers read."""
    if "coverage_held" not in failed:
        return "sensors_disagree"
    if max(scores) >= spec.SUCCESS_COVERAGE:
        return "not_held"
    if min(scores) >= spec.NEAR_MISS_COVERAGE:
        return "near_miss"
    pose = fits[-1].pose.tolist()
    start = [evidence.start[key] for key in START_KEYS[2:]] if evidence.start else None
    if start and keypoint_error(pose, start) < spec.MOVED_px:
        return "never_moved"
    if t_touches_wall(pose, spec.AT_WALL_px):
        return "at_wall"
    if start and keypoint_error(pose) > keypoint_error(start):
        return "moved_away"
    turned = abs(math.remainder(pose[2] - GOAL_POSE[2], 2 * math.pi)) > spec.ROTATED_rad
    shifted = math.hypot(pose[0] - GOAL_POSE[0], pose[1] - GOAL_POSE[1]) > spec.SHIFTED_px
    if turned == shifted:
        return "missed_goal"
    return "rotated" if turned else "shifted"


def _at_least(name: str, value: float, low: float, unit: str = "") -> Predicate:
    return Predicate(name=name, value=value, low=low, passed=value >= low, unit=unit)


def _at_most(name: str, value: float | None, high: float, unit: str = "") -> Predicate:
    """Passes for None: nothing was measured that could fail; another predicate says why."""
    return Predicate(name=name, value=value, high=high, passed=value is None or value <= high, unit=unit)
