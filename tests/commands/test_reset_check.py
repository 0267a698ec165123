"""`nightlab reset-check`: what its figures say of a tally, and where they and the progress are printed."""

from __future__ import annotations

from pathlib import Path

import pytest

from commands.reset_check import asked_starts, figures, sentence
from commands.reset_record import CheckedReset, ResetRecord, Subject
from environments.pin_insertion.start import START_KEYS, sample_start
from nightlab.errors import UsageError
from nightlab.records import ResetReport

SUBJECT = Subject("pin_insertion", "real", "a" * 64)


def _check(seed: int, *, attempts: int = 1, success: bool = True, shift_m: float = 0.0) -> CheckedReset:
    asked = sample_start(seed)
    achieved = asked | {"tip_x_m": asked["tip_x_m"] + shift_m}
    reason = "" if success else "no hand holds the pin and no camera sees it"
    report = ResetReport(
        success=success, attempts=attempts, duration_s=4.0 + seed % 2, asked=asked, achieved=achieved,
        distance=abs(shift_m), reason=reason, counts={"handovers": seed % 2},
    )  # fmt: skip
    return _blank(seed).model_copy(update={"report": report, "truth": achieved, "left": "press" if seed else ""})


def _blank(seed: int) -> CheckedReset:
    return CheckedReset(
        environment=SUBJECT.environment, profile=SUBJECT.profile, version=SUBJECT.version, station_seed=0, seed=seed
    )


def test_figures_count_gave_ups_and_faults_as_failures() -> None:
    checks = [_check(seed, attempts=1 + (seed == 7)) for seed in range(200)]
    checks[3] = _check(3, attempts=3, success=False)
    fault = "robot-1, seed 200: the station fell silent"
    said = figures("pin_insertion", [*checks, _blank(200).model_copy(update={"left": "rim", "fault": fault})])
    assert (said["n"], said["successes"], said["success"]) == (201, 199, round(199 / 201, 4))
    assert said["wilson_low"] < said["success"] < said["wilson_high"] < 1.0
    assert said["attempts"] == {"1": 198, "2": 1}, "of the resets that succeeded"
    assert said["gave_up"] == ["seed 3 after press: no hand holds the pin and no camera sees it"]
    assert said["faults"] == [fault]
    assert said["done"] == {"handovers": 100}
    assert said["found_after"] == {"fresh scene": 1, "press": 199, "rim": 1}
    assert said["duration_mean_s"] == pytest.approx(4.5, abs=0.01)
    assert "199 of 201 resets succeed" in sentence({**said, "environment": "pin_insertion", "profile": "real"})


def test_ks_is_small_for_the_asked_distribution_and_large_for_a_shifted_one() -> None:
    straight = figures("pin_insertion", [_check(seed) for seed in range(200)])
    assert set(straight["ks_D"]) == set(straight["ks_D_true"]) == set(START_KEYS)
    assert max(straight["ks_D"].values()) <= 0.12
    shifted = figures("pin_insertion", [_check(seed, shift_m=0.010) for seed in range(200)])
    assert shifted["ks_D"]["tip_x_m"] > 0.12, "10 mm of 60 mm are a sixth of the distribution"
    assert shifted["ks_D"]["tip_y_m"] == straight["ks_D"]["tip_y_m"]


def test_the_asked_distribution_comes_from_other_seeds() -> None:
    asked = asked_starts("pin_insertion", 50)
    assert set(asked) == set(START_KEYS)
    assert not set(asked["tip_x_m"]) & {sample_start(seed)["tip_x_m"] for seed in range(1000)}


def test_a_record_keeps_each_reset_and_says_which_are_missing(tmp_path: Path) -> None:
    path = tmp_path / "resets.jsonl"
    begun = ResetRecord(path, SUBJECT)
    for seed in (0, 1, 3):
        begun.add(_check(seed))
    again = ResetRecord(path, SUBJECT)
    assert again.checked == [_check(seed) for seed in (0, 1, 3)]
    assert again.missing(range(5)) == [2, 4]
    assert [one.seed for one in again.of(range(1, 4))] == [1, 3]


@pytest.mark.parametrize(
    ("other", "match"),
    [
        (Subject("pin_insertion", "real", "b" * 64), "version 'aaaaaaaaaaaa', asked is 'bbbbbbbbbbbb'"),
        (Subject("pin_insertion", "hard", "a" * 64), "profile 'real', asked is 'hard'"),
    ],
)
def test_a_record_of_something_else_is_refused(tmp_path: Path, other: Subject, match: str) -> None:
    path = tmp_path / "resets.jsonl"
    ResetRecord(path, SUBJECT).add(_check(0))
    with pytest.raises(UsageError, match=match):
        ResetRecord(path, other)


def test_a_file_that_is_no_record_is_refused_by_line(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("hello\n")
    with pytest.raises(UsageError, match="line 1 is no checked reset"):
        ResetRecord(path, SUBJECT)
