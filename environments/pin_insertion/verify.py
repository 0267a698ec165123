"""The frozen judge of pin insertion: two RGB-D cameras, each with its own opinion, and the wrists' force log.

Success needs all of: both cameras see the pin in the target hole, upright and at least 15 mm deep, at rest; no force of
40 N at a wrist over the whole episode. A camera that sees the target hole empty says FAILURE, whether it sees the pin or
not; one inside its guard band or blind is UNSURE. Unless another one says FAILURE, the environment then takes more frames,
and what is still unseen is no success. Only a fault of the station leaves an episode UNSCORED.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence

import numpy as np

from environments.fusion import Opinion, at_least, at_most, fuse
from environments.pin_insertion import spec
from environments.pin_insertion.opinion import BAND, CameraView, view
from environments.pin_insertion.sense import insertion
from environments.pin_insertion.vision import Sight, look
from nightlab.contracts import EpisodeEvidence, Frame
from nightlab.pin_box import IMAGE_PX
from nightlab.records import Outcome, Predicate, Verdict

FORCE = "peak_force_N"
"""Key of the measure that the environment takes from the station's log."""
Views = tuple[CameraView, ...]
Seen = dict[str, list[Sight]]
"""Camera → what was seen in its frames, in order."""


class PinInsertionVerifier:
    """Implements `nightlab.contracts.Verifier`. Without state: the same evidence, the same verdict."""

    def __init__(self, manifest_sha256: str = "") -> None:
        self.manifest_sha256 = manifest_sha256

    def verify(self, evidence: EpisodeEvidence) -> Verdict:
        """Judge one episode; about 5 ms of CPU for a frame of `top` and 12 ms for one of `side`."""
        begin_s = time.perf_counter()
        fault = station_fault(evidence)
        if fault is not None:
            return self._verdict(Outcome.UNSCORED, 0.0, *fault, begin_s)
        views, said, extra = judge(evidence)
        predicates = _predicates(evidence, views, spec.SUCCESS_DEPTH_m + (BAND.margin if extra else 0.0))
        opinions = {one.camera: said[one.camera].value for one in views}
        if all(predicate.passed for predicate in predicates):
            return self._verdict(Outcome.SUCCESS, 1.0, "inserted", predicates, begin_s, opinions, extra)
        failed = {predicate.name for predicate in predicates if not predicate.passed}
        reason, score = _failure(evidence, views, failed), _score(evidence, views)
        return self._verdict(Outcome.FAILURE, score, reason, predicates, begin_s, opinions, extra)

    def _verdict(
        self,
        outcome: Outcome,
        score: float,
        reason: str,
        predicates: tuple[Predicate, ...],
        begin_s: float,
        cameras: Mapping[str, str] | None = None,
        extra_frames: int = 0,
    ) -> Verdict:
        return Verdict(
            outcome=outcome,
            score=min(max(score, 0.0), 1.0),
            reason=reason,
            predicates=predicates,
            latency_s=time.perf_counter() - begin_s,
            verifier_sha256=self.manifest_sha256,
            cameras=dict(cameras or {}),
            extra_frames=extra_frames,
        )


def is_unsure(evidence: EpisodeEvidence) -> bool:
    """Whether a first look needs more frames; False for a fault of the station, which they cannot mend."""
    if station_fault(evidence) is not None:
        return False
    return fuse(one.opinion(last=False) for one in _views(evidence, spec.HELD_FRAMES, {})) is Opinion.UNSURE


def judge(evidence: EpisodeEvidence) -> tuple[Views, dict[str, Opinion], int]:
    """What each camera sees and says in the end, and the frames that were used beyond the first look.

    Where there are no more frames, a camera inside its guard band goes by the threshold and is still called UNSURE.
    """
    seen: Seen = {}
    views = _views(evidence, spec.HELD_FRAMES, seen)
    said = {one.camera: one.opinion(last=False) for one in views}
    usual = spec.HELD_FRAMES * len(spec.CAMERAS)
    extra = len(evidence.frames) - usual if fuse(said.values()) is Opinion.UNSURE else 0
    if extra:
        views = _views(evidence, None, seen)
        said = {one.camera: one.opinion(last=True) for one in views}
    return views, said, extra


def _views(evidence: EpisodeEvidence, most: int | None, seen: Seen) -> Views:
    """What each camera sees in its first `most` frames. Frames that `seen` has are not looked at again."""
    target = target_hole(evidence)
    for camera in spec.CAMERAS:
        known = seen.setdefault(camera, [])
        known += [look(frame, target) for frame in _of(evidence.frames, camera)[len(known) : most]]
    return tuple(view(camera, seen[camera], target) for camera in spec.CAMERAS)


def target_hole(evidence: EpisodeEvidence) -> int:
    """The hole that the episode was about: by its reset, else by the station."""
    told = evidence.start.get("hole")
    return int(evidence.observations[-1]["target_hole"][0] if told is None else told)


def station_fault(evidence: EpisodeEvidence) -> tuple[str, tuple[Predicate, ...]] | None:
    """A fault of the station that makes the evidence worthless: reason and the predicate that failed, or None."""
    frames = evidence.frames
    brightness = min((float(frame.rgb[::8, ::8].mean()) for frame in frames), default=0.0)
    fewest = min(len(_of(frames, camera)) for camera in spec.CAMERAS)
    checks = [
        ("station_fault", at_most("station_faults", float(len(evidence.faults)), 0.0)),
        ("frames_missing", at_least("frames_per_camera", float(fewest), float(spec.HELD_FRAMES))),
        ("frames_missing", at_least("usable_frames", float(sum(map(_usable, frames))), float(len(frames)))),
        ("frames_missing", at_least("observations", float(len(evidence.observations)), float(len(frames)))),
        ("camera_black", at_least("brightness", brightness, spec.BLACK_LEVEL)),
        ("camera_frozen", at_least("new_frames", float(_advancing(frames)), float(len(frames)))),
        ("force_missing", at_least("force_logs", float(math.isfinite(evidence.measures.get(FORCE, math.nan))), 1.0)),
    ]
    for reason, predicate in checks:
        if not predicate.passed:
            return reason, (predicate,)
    return None


def _of(frames: Sequence[Frame], camera: str) -> list[Frame]:
    return [frame for frame in frames if frame.camera == camera]


def _usable(frame: Frame) -> bool:
    width, height = IMAGE_PX
    whole = frame.rgb.shape == (height, width, 3) and frame.rgb.dtype == np.uint8
    return (
        whole and frame.camera in spec.CAMERAS and frame.depth_m is not None and frame.depth_m.shape == (height, width)
    )


def _advancing(frames: Sequence[Frame]) -> int:
    """Frames that are newer than the one before, by the station's counter."""
    seqs = [frame.seq for frame in frames]
    return sum(1 for i, seq in enumerate(seqs) if i == 0 or seq > seqs[i - 1])


def _predicates(evidence: EpisodeEvidence, views: Views, least_m: float) -> tuple[Predicate, ...]:
    """The conditions of success, camera by camera.

    A camera that does not see the pin fails `seen_by`, and `filled` if it sees that the target hole is empty.
    """
    out: list[Predicate] = []
    for one in views:
        seen = one.depth_m is not None
        out.append(at_least(f"seen_by_{one.camera}", float(seen), 1.0))
        if one.depth_m is None:
            if one.empty:
                out.append(at_most(f"filled_{one.camera}", one.behind_m, spec.FREE_m, "m"))
            continue
        out.append(at_most(f"beside_hole_{one.camera}", one.lateral_m, spec.LATERAL_TOLERANCE_m, "m"))
        out.append(at_most(f"tilt_{one.camera}", one.tilt_rad, spec.UPRIGHT_rad, "rad"))
        out.append(at_most(f"moving_{one.camera}", one.spread_m, spec.MAX_SPREAD_m, "m"))
        deep = least_m <= one.depth_m <= spec.DEEPEST_m
        out.append(
            Predicate(
                name=f"depth_{one.camera}", value=one.depth_m, low=least_m, high=spec.DEEPEST_m, passed=deep, unit="m"
            )
        )
    force_N = evidence.measures[FORCE]
    out.append(
        Predicate(name="peak_force", value=force_N, high=spec.MAX_FORCE_N, passed=force_N < spec.MAX_FORCE_N, unit="N")
    )
    return tuple(out)


def _failure(evidence: EpisodeEvidence, views: Views, failed: set[str]) -> str:
    """One word of FAILURE_REASONS: the key of the failure histogram that researchers read."""
    if failed == {"peak_force"}:
        return "forced"
    best = _best(views)
    told = insertion(evidence.observations[-1])
    if evidence.measures[FORCE] >= spec.MAX_FORCE_N and (best is None or not best.stands):
        return "crashed"
    if best is None or best.depth_m is None:
        return "gone" if any(one.empty for one in views) else "hidden"
    if any(name.startswith("moving_") for name in failed):
        return "not_held"
    if best.depth_m > spec.DEEPEST_m or best.tilt_rad > spec.UPRIGHT_rad:
        return "dropped"
    if best.depth_m > spec.INSIDE_m and best.lateral_m > spec.LATERAL_TOLERANCE_m:
        return "wrong_hole"
    if best.stands and best.depth_m > spec.INSIDE_m:
        if not any(name.startswith("depth_") for name in failed):
            return "hidden"
        return "near_miss" if best.depth_m >= spec.NEAR_MISS_m else "shallow"
    return "at_the_rim" if told.lateral_m < spec.RIM_m and best.depth_m > -spec.RIM_m else "beside_hole"


def _best(views: Views) -> CameraView | None:
    """The camera that sees the head best."""
    seen = [one for one in views if one.depth_m is not None]
    return max(seen, key=lambda one: one.visible_share, default=None)


def _score(evidence: EpisodeEvidence, views: Views) -> float:
    """How near a failure came, in [0, 1): a fifth for the way to the hole, the rest for the depth; half if forced.

    The way counts by its logarithm: half a millimetre beside the hole must be told from two, as well as 6 mm from 30.
    """
    best = _best(views)
    if best is None or best.depth_m is None:
        return 0.0
    if best.stands and best.depth_m > spec.INSIDE_m:
        score = 0.2 + 0.79 * min(1.0, best.depth_m / spec.SUCCESS_DEPTH_m)
    else:
        away_m = math.hypot(best.lateral_m, max(0.0, -best.depth_m))
        score = 0.2 * max(0.0, 1.0 - math.log1p(away_m / spec.CLOSE_m) / math.log1p(spec.FAR_m / spec.CLOSE_m))
    return score / 2 if evidence.measures[FORCE] >= spec.MAX_FORCE_N else score
