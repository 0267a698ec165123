"""The frozen judge of Push-T: coverage from camera frames, checked against the pose sensor.

Success needs all of: the T seen in every held frame, a clean fit, coverage >= 0.95 in every frame, and a pose sensor
that agrees. The first look, at 5 frames, is UNSURE if the coverage lies inside the guard band or the T cannot be found;
the environment then holds for 5 more, and the mean of all settles it. Only a fault of the station (no, black, frozen or
stale frames) leaves an episode UNSCORED; a T that still cannot be found is FAILURE, or hiding it would pay.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from environments.fusion import GuardBand, Opinion, at_least, at_most
from environments.push_t import spec
from environments.push_t.mounting import is_displaced
from environments.push_t.start import START_KEYS
from environments.push_t.vision import BlockFit, Sight, look
from nightlab.contracts import EpisodeEvidence, Frame
from nightlab.geometry import GOAL_POSE, coverage, keypoint_error, t_outline, t_touches_wall
from nightlab.records import Outcome, Predicate, Verdict

BAND = GuardBand(spec.SUCCESS_COVERAGE, *spec.GUARD_BAND, spec.SETTLE_MARGIN)
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
        seen = _seen(sights[: spec.HELD_FRAMES])
        said = _opinion(seen)
        extra = len(sights) - spec.HELD_FRAMES if said is Opinion.UNSURE else 0
        if extra:
            seen = _settled(seen, _seen(sights[spec.HELD_FRAMES :]))
            said = BAND.settled(seen.score)
        looks: dict[str, Any] = {"cameras": {spec.CAMERA: said.value}, "extra_frames": extra}
        lowest = spec.SUCCESS_COVERAGE + (BAND.margin if extra else 0.0)
        predicates = (*_predicates(evidence, seen, lowest), stale)
        failed = {predicate.name for predicate in predicates if not predicate.passed}
        if not failed and seen.score is not None:
            return self._verdict(Outcome.SUCCESS, seen.score, "held", predicates, begin, **looks)
        if failed & {"block_visible", "fit_residual"} or seen.score is None:
            return self._verdict(Outcome.FAILURE, 0.0, _unseen(evidence), predicates, begin, **looks)
        reason = _failure(evidence, seen, failed)
        return self._verdict(Outcome.FAILURE, seen.score, reason, predicates, begin, **looks)

    def _verdict(
        self,
        outcome: Outcome,
        score: float,
        reason: str,
        predicates: tuple[Predicate, ...],
        begin_s: float,
        cameras: dict[str, str] | None = None,
        extra_frames: int = 0,
    ) -> Verdict:
        return Verdict(
            outcome=outcome,
            score=min(max(score, 0.0), 1.0),
            reason=reason,
            predicates=predicates,
            latency_s=time.perf_counter() - begin_s,
            verifier_sha256=self.manifest_sha256,
            cameras=cameras or {},
            extra_frames=extra_frames,
        )


def is_unsure(evidence: EpisodeEvidence) -> bool:
    """Whether a first look at the held frames needs more frames; False for a station's fault, which they cannot mend."""
    if station_fault(evidence) is not None:
        return False
    return _opinion(_seen(_sights(evidence.frames))) is Opinion.UNSURE


@dataclass(frozen=True, slots=True)
class Seen:
    """The T over several frames."""

    fits: tuple[BlockFit, ...]
    scores: tuple[float, ...]
    """Coverage in each frame."""
    score: float | None
    """What is judged: the smallest coverage of a first look, the mean after more frames; None: not seen in each frame."""

    @property
    def visible_share(self) -> float:
        """Share of the outline that was seen, in the worst frame."""
        return min((fit.visible_share for fit in self.fits), default=0.0) if self.score is not None else 0.0

    @property
    def residual_px(self) -> float | None:
        """Root mean square distance of the seen outline from the fitted one, in the worst frame."""
        return min(max(fit.residual_px for fit in self.fits), NO_FIT_px) if self.score is not None else None


def _seen(sights: Sequence[Sight]) -> Seen:
    fits = tuple(sight.block for sight in sights if sight.block is not None)
    if not fits or len(fits) < len(sights):
        return Seen(fits, (), None)
    scores = tuple(coverage(fit.pose.tolist()) for fit in fits)
    return Seen(fits, scores, min(scores))


def _settled(first: Seen, more: Seen) -> Seen:
    """Both looks together. A T that was hidden in the first one counts if the second, whole look sees it."""
    if more.score is None:
        return Seen((*first.fits, *more.fits), (), None)
    if not _clean(first):
        return more
    scores = (*first.scores, *more.scores)
    lowest = min(scores)
    return Seen((*first.fits, *more.fits), scores, lowest if lowest <= BAND.low else sum(scores) / len(scores))


def _clean(seen: Seen) -> bool:
    residual = seen.residual_px
    return (
        seen.visible_share >= spec.MIN_VISIBLE_SHARE and residual is not None and residual <= spec.MAX_FIT_RESIDUAL_px
    )


def _opinion(seen: Seen) -> Opinion:
    """Of a first look: UNSURE inside the guard band, or if the T was not seen clean and whole in each frame."""
    return BAND.opinion(seen.score if _clean(seen) else None)


def station_fault(evidence: EpisodeEvidence) -> tuple[str, tuple[Predicate, ...]] | None:
    """A fault of the station that makes the evidence worthless: reason and the predicate that failed, or None."""
    frames = evidence.frames
    brightness = min((float(frame.rgb[::8, ::8].mean()) for frame in frames), default=0.0)
    checks = [
        ("station_fault", at_most("station_faults", float(len(evidence.faults)), 0.0)),
        ("frames_missing", at_least("frames", float(len(frames)), float(spec.HELD_FRAMES))),
        ("frames_missing", at_least("usable_frames", float(_usable(frames)), float(len(frames)))),
        ("frames_missing", at_least("observations", float(len(evidence.observations)), float(len(frames)))),
        ("camera_black", at_least("brightness", brightness, spec.BLACK_LEVEL)),
        ("camera_frozen", at_least("new_frames", float(_advancing(frames)), float(len(frames)))),
        ("camera_moved", at_most("displaced_views", float(_displaced(frames)), 0.0)),
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


def _displaced(frames: Sequence[Frame]) -> int:
    """How many of the first and the last frame show the table's walls elsewhere; 0.8 ms a frame."""
    ends = (*frames[:1], *frames[1:][-1:])
    return sum(is_displaced(frame.rgb) for frame in ends if _usable([frame]))


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
        return at_most("camera_is_live", None, spec.AGENT_TOLERANCE_px, "px")
    told = [np.asarray(values["agent_xy"], dtype=np.float64) for values in evidence.observations]
    moved = max(float(np.hypot(*(there - told[-1]))) for there in told)  # or racing at the end would unscore a failure
    return at_most("camera_is_live", float(np.hypot(*(seen - told[-1]))), spec.AGENT_TOLERANCE_px + moved, "px")


def _predicates(evidence: EpisodeEvidence, seen: Seen, lowest: float) -> tuple[Predicate, ...]:
    """The conditions of success that the T itself must meet."""
    apart = None
    if seen.fits:
        apart = keypoint_error(_sensed(evidence).tolist(), seen.fits[-1].pose.tolist())
    return (
        at_least("block_visible", seen.visible_share, spec.MIN_VISIBLE_SHARE),
        at_most("fit_residual", seen.residual_px, spec.MAX_FIT_RESIDUAL_px, "px"),
        at_least("coverage_held", seen.score or 0.0, lowest),
        at_most("sensors_agree", apart, spec.SENSOR_TOLERANCE_px, "px"),
    )


def _sensed(evidence: EpisodeEvidence) -> NDArray[np.float64]:
    """The pose sensor's last word."""
    return np.asarray(evidence.observations[-1]["block_pose"], dtype=np.float64)


def _unseen(evidence: EpisodeEvidence) -> str:
    """Why the T is not seen: by the pose sensor it left the picture, or it is hidden."""
    corners = t_outline(_sensed(evidence).tolist())
    return "off_table" if corners.min() < 0 or corners.max() > spec.CAMERA_SIZE_px else "hidden"


def _failure(evidence: EpisodeEvidence, seen: Seen, failed: set[str]) -> str:
    """One word of FAILURE_REASONS: the key of the failure histogram that researchers read."""
    if "coverage_held" not in failed:
        return "sensors_disagree"
    lowest = min(seen.scores)
    if max(seen.scores) >= spec.SUCCESS_COVERAGE and lowest <= BAND.low:
        return "not_held"
    if lowest >= spec.NEAR_MISS_COVERAGE:
        return "near_miss"
    pose = seen.fits[-1].pose.tolist()
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
