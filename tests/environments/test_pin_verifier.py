"""The verifier of pin insertion against ground truth, camera by camera, and every way in which evidence can be bad."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from environments import exam
from environments.fusion import Opinion
from environments.pin_insertion import exam as pin
from environments.pin_insertion import spec
from environments.pin_insertion.opinion import BAND
from environments.pin_insertion.verify import FORCE, PinInsertionVerifier, is_unsure, judge
from environments.pin_insertion.vision import Sight, look
from nightlab.contracts import EpisodeEvidence, Frame
from nightlab.records import Outcome, Verdict
from robots.profiles import load_profile
from robots.worlds import make_world

STANDING = {"hole": 2.0, "in_hole": 2.0, "pin_rx_rad": 0.004, "pin_ry_rad": -0.003, "pin_rz_rad": 0.7, pin.PEAK: 12.0}
HELD = {"hole": 1.0, "tip_x_m": 0.0, "tip_y_m": 0.0, "tip_z_m": -0.009, "yaw_rad": 0.1, pin.PEAK: 20.0}
LYING = {"hole": 0.0, "bottom_m": 0.025, "lies_x_m": 0.0, "lies_y_m": 0.0, "lies_z_m": 0.05,
         "pin_rx_rad": 1.0, "pin_ry_rad": 1.2, "pin_rz_rad": 0.0, pin.PEAK: 5.0}  # fmt: skip


@cache
def station(profile: str = "nominal") -> exam.TruthStation:
    return exam.TruthStation(make_world("yam_bench", load_profile(profile, "yam_bench"), 4))


@cache
def case_of(items: tuple[tuple[str, float], ...], profile: str = "nominal") -> exam.Case:
    return asyncio.run(exam.collect(station(profile), "pin_insertion", dict(items), 11))


def case(state: dict[str, float], profile: str = "nominal", **changes: float) -> exam.Case:
    return case_of(tuple((state | changes).items()), profile)


def verify(evidence: EpisodeEvidence) -> Verdict:
    return PinInsertionVerifier("abc").verify(evidence)


@pytest.mark.parametrize(
    ("changes", "outcome", "reason", "extra"),
    [
        ({"bottom_m": 0.025}, "success", "inserted", 0),
        ({"bottom_m": 0.0156}, "success", "inserted", 0),
        ({"bottom_m": 0.0144}, "failure", "near_miss", 0),
        ({"bottom_m": 0.006}, "failure", "shallow", 0),
        ({"bottom_m": 0.015, "in_hole": 1.0}, "failure", "wrong_hole", 0),
        ({"bottom_m": 0.022, pin.PEAK: 41.0}, "failure", "forced", 0),
        ({"bottom_m": 0.015}, None, None, 6),
    ],
)
def test_a_pin_in_a_hole(changes: dict[str, float], outcome: str | None, reason: str | None, extra: int) -> None:
    known = case(STANDING, **changes)
    verdict = verify(known.evidence)
    assert verdict.extra_frames == extra
    assert is_unsure(known.evidence) is bool(extra)
    if outcome is not None:
        assert (verdict.outcome.value, verdict.reason) == (outcome, reason)
        assert (verdict.outcome is Outcome.SUCCESS) == known.success
        if reason != "forced":
            assert verdict.cameras == {"top": outcome, "side": outcome}


@pytest.mark.parametrize("profile", ["nominal", "hard"])
def test_both_cameras_measure_the_depth(profile: str) -> None:
    """The hard profile has 5 mm of noise in each pixel of the top camera's depth."""
    tolerance_m = {"nominal": 0.0002, "hard": 0.0007}[profile]
    known = case(STANDING, profile, bottom_m=0.0182)
    views, said, extra = judge(known.evidence)
    for one in views:
        assert one.depth_m == pytest.approx(known.value, abs=tolerance_m), one
        assert one.lateral_m < 0.003
        assert said[one.camera] is Opinion.SUCCESS
    assert extra == 0


def test_a_pin_that_the_gripper_still_has_is_judged_by_the_side() -> None:
    verdict = verify(case(HELD).evidence)
    assert (verdict.outcome, verdict.reason) == (Outcome.FAILURE, "shallow")
    assert verdict.cameras == {"top": "unsure", "side": "failure"}
    assert 0.5 < verdict.score < 0.8
    failed = {predicate.name: predicate for predicate in verdict.predicates if not predicate.passed}
    assert set(failed) == {"seen_by_top", "depth_side"}
    depth = failed["depth_side"]
    assert (depth.low, depth.high, depth.unit) == (0.015, spec.DEEPEST_m, "m")
    assert depth.value == pytest.approx(0.009, abs=0.0007)
    away = verify(case(HELD, tip_z_m=0.04, tip_x_m=0.02).evidence)
    assert (away.outcome, away.reason) == (Outcome.FAILURE, "beside_hole")
    assert away.score < 0.15


def test_a_dropped_pin_lies() -> None:
    verdict = verify(case(LYING).evidence)
    assert (verdict.outcome, verdict.reason) == (Outcome.FAILURE, "dropped")


def blinded(evidence: EpisodeEvidence, camera: str) -> EpisodeEvidence:
    """With everything orange painted grey in one camera's pictures."""

    def paint(frame: Frame) -> Frame:
        orange = (frame.rgb[..., 0] > 1.5 * frame.rgb[..., 2]) & (frame.rgb[..., 1] < 0.75 * frame.rgb[..., 0])
        return replace(frame, rgb=np.where(orange[..., None], np.uint8(120), frame.rgb))

    return replace(evidence, frames=[paint(one) if one.camera == camera else one for one in evidence.frames])


@pytest.mark.parametrize("camera", spec.CAMERAS)
def test_success_needs_both_cameras(camera: str) -> None:
    hidden = blinded(case(STANDING, bottom_m=0.025).evidence, camera)
    assert is_unsure(hidden)
    verdict = verify(hidden)
    assert (verdict.outcome, verdict.reason, verdict.cameras[camera]) == (Outcome.FAILURE, "hidden", "unsure")
    (failed,) = [predicate for predicate in verdict.predicates if not predicate.passed]
    assert (failed.name, failed.value) == (f"seen_by_{camera}", 0.0)


AWAY = LYING | {"lies_x_m": 0.35, "lies_z_m": 0.008}
"""The pin lies where neither camera looks."""


@pytest.mark.parametrize("profile", ["nominal", "hard"])
def test_an_empty_hole_is_a_sure_failure_though_no_camera_sees_the_pin(profile: str) -> None:
    gone = case(AWAY, profile).evidence
    assert not is_unsure(gone)
    assert len(gone.frames) == 2 * spec.HELD_FRAMES, "no second look"
    verdict = verify(gone)
    assert (verdict.outcome, verdict.reason, verdict.extra_frames) == (Outcome.FAILURE, "gone", 0)
    assert verdict.reason in spec.FAILURE_REASONS
    assert verdict.cameras == {"top": "failure", "side": "failure"}
    failed = {predicate.name: predicate for predicate in verdict.predicates if not predicate.passed}
    assert set(failed) == {"seen_by_top", "seen_by_side", "filled_top", "filled_side"}
    value_m = failed["filled_top"].value
    assert value_m is not None
    assert 0.022 < value_m < 0.040, "from above the plate lies behind the place, at nominal 28 mm"
    assert (failed["filled_top"].high, failed["filled_top"].unit) == (spec.FREE_m, "m")


@pytest.mark.parametrize("camera", spec.CAMERAS)
def test_one_camera_that_sees_the_hole_empty_is_enough(camera: str) -> None:
    """The other one's pictures hold a pin that stands there: never a success."""
    gone, there = case(AWAY).evidence, blinded(case(STANDING, hole=0.0, in_hole=0.0, bottom_m=0.025).evidence, camera)
    first = 2 * spec.HELD_FRAMES
    pairs = zip(gone.frames, there.frames[:first], strict=True)
    frames = [one if one.camera == camera else replace(two, seq=one.seq) for one, two in pairs]
    verdict = verify(replace(gone, frames=frames))
    assert verdict.outcome is Outcome.FAILURE
    assert verdict.cameras[camera] == "failure"
    assert {f"seen_by_{camera}", f"filled_{camera}"} <= {one.name for one in verdict.predicates if not one.passed}


@pytest.mark.parametrize("bottom_m", [0.0151, 0.025])
def test_a_hidden_pin_in_the_hole_is_never_taken_for_an_empty_hole(bottom_m: float) -> None:
    """Painted grey, with its depth as it is, or with no depth at all: the camera stays blind."""
    seen = case(STANDING, bottom_m=bottom_m).evidence
    for camera in spec.CAMERAS:
        views, _, _ = judge(blinded(seen, camera))
        hidden = next(one for one in views if one.camera == camera)
        assert hidden.depth_m is None
        assert hidden.behind_m is not None
        assert hidden.behind_m < 0
        frame = next(frame for frame in seen.frames if frame.camera == camera)
        assert frame.depth_m is not None
        head = frame.rgb.astype(int)
        orange = (head[..., 0] > 1.5 * head[..., 2]) & (head[..., 1] < 0.75 * head[..., 0])
        rows, columns = np.nonzero(orange)
        unmeasured = frame.depth_m.copy()
        unmeasured[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1] = 0
        assert look(replace(frame, depth_m=unmeasured), 2).behind_m is None


def test_whether_a_place_is_empty_is_told_hole_by_hole() -> None:
    for frame in case(STANDING, bottom_m=0.018).evidence.frames[:2]:
        behind = [look(frame, hole).behind_m for hole in range(spec.HOLES)]
        assert behind[2] is not None
        assert behind[2] < 0
        assert look(frame).behind_m is None
        others = [one for hole, one in enumerate(behind) if hole != 2 and one is not None and one > spec.FREE_m]
        assert len(others) >= 2, behind


def test_each_frame_is_looked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    from environments.pin_insertion import verify as judging

    asked: list[int] = []

    def counted(frame: Frame, hole: int | None = None) -> Sight:
        asked.append(id(frame))
        return look(frame, hole)

    known = case(STANDING, bottom_m=0.015)
    monkeypatch.setattr(judging, "look", counted)
    assert verify(known.evidence).extra_frames == 6
    assert len(asked) == len(set(asked)) == len(known.evidence.frames) == 12


def test_a_camera_that_was_blind_at_first_is_settled_by_more_frames() -> None:
    seen = case(STANDING, bottom_m=0.025).evidence
    hidden = blinded(seen, "side")
    later = [replace(frame, seq=frame.seq + 100) for frame in seen.frames]
    more = [*later, *(replace(frame, seq=frame.seq + 200) for frame in seen.frames)]
    frames = [*hidden.frames, *more]
    both = replace(seen, frames=frames, observations=[seen.observations[-1]] * len(frames))
    verdict = verify(both)
    assert (verdict.outcome, verdict.extra_frames) == (Outcome.SUCCESS, 12)


def test_without_more_frames_an_unsure_camera_goes_by_the_threshold() -> None:
    known = case(STANDING, bottom_m=0.0151)
    first = 2 * spec.HELD_FRAMES
    short = replace(known.evidence, frames=known.evidence.frames[:first])
    short = replace(short, observations=known.evidence.observations[:first])
    verdict = verify(short)
    assert verdict.extra_frames == 0
    assert "unsure" in verdict.cameras.values()
    views, _, _ = judge(short)
    assert (verdict.outcome is Outcome.SUCCESS) == all((one.depth_m or 0.0) >= BAND.threshold for one in views)


def test_a_moving_pin_is_no_success() -> None:
    deep, shallow = (case(STANDING, bottom_m=bottom).evidence for bottom in (0.025, 0.0195))
    frames: Sequence[Frame] = [*deep.frames[:2], *(replace(one, seq=one.seq + 100) for one in shallow.frames[2:6])]
    verdict = verify(replace(deep, frames=frames))
    assert (verdict.outcome, verdict.reason) == (Outcome.FAILURE, "not_held")


def test_only_a_stations_fault_is_unscored() -> None:
    good = case(STANDING, bottom_m=0.025).evidence
    frames = good.frames
    cases = {
        "station_fault": replace(good, faults=("camera unplugged",)),
        "frames_missing": replace(good, frames=frames[:4]),
        "camera_black": replace(good, frames=[replace(one, rgb=np.zeros_like(one.rgb)) for one in frames]),
        "camera_frozen": replace(good, frames=[replace(one, seq=3) for one in frames]),
        "force_missing": replace(good, measures={}),
    }
    for reason, what in cases.items():
        verdict = verify(what)
        assert (verdict.outcome, verdict.reason) == (Outcome.UNSCORED, reason)
        assert reason in spec.FAULT_REASONS
        assert any(not predicate.passed for predicate in verdict.predicates)
    flat = replace(good, frames=[replace(one, depth_m=None) for one in frames])
    assert verify(flat).reason == "frames_missing"


def test_the_target_is_the_resets_not_the_policys() -> None:
    known = case(STANDING, bottom_m=0.025)
    other = verify(replace(known.evidence, start={"hole": 0.0}))
    assert (other.outcome, other.reason) == (Outcome.FAILURE, "wrong_hole")


def test_verdicts_name_cameras_force_and_manifest() -> None:
    verdict = verify(case(STANDING, bottom_m=0.025).evidence)
    assert verdict.verifier_sha256 == "abc"
    names = {predicate.name for predicate in verdict.predicates}
    assert names == {"peak_force"} | {
        f"{name}_{camera}" for name in ("seen_by", "beside_hole", "tilt", "moving", "depth") for camera in spec.CAMERAS
    }
    force = next(predicate for predicate in verdict.predicates if predicate.name == "peak_force")
    assert (force.value, force.high, force.unit) == (12.0, 40.0, "N")
    assert FORCE == pin.PEAK


def test_a_partly_hidden_plate_is_found_by_three_markers_and_not_by_two() -> None:
    frame = case(STANDING, bottom_m=0.025).evidence.frames[0]
    one = frame.rgb.copy()
    one[:, : np.flatnonzero((frame.rgb[..., 2] > 180) & (frame.rgb[..., 0] < 80))[0] % 640 + 25] = 200
    assert look(replace(frame, rgb=one)).plate is None  # both markers on that side are gone
    corner = frame.rgb.copy()
    blue = np.argwhere((frame.rgb[..., 2] > 180) & (frame.rgb[..., 0] < 80))
    (top, left), (bottom, right) = blue.min(axis=0), blue.max(axis=0)
    corner[top - 2 : bottom + 3, left - 2 : right + 3] = 200
    plate = look(replace(frame, rgb=corner)).plate
    assert plate is not None
    assert plate.markers == 3


def test_the_exam_is_balanced_and_hard() -> None:
    made = pin.states(200)
    good = [i for i in range(200) if i % 2]
    assert len(good) == 100
    assert pin.states(5, seed=1) == pin.states(5, seed=1) != pin.states(5, seed=2)
    near = [abs(state["bottom_m"] - 0.015) <= 0.0015 for state in made if "bottom_m" in state and "in_hole" in state]
    assert sum(near) >= 0.3 * 200
