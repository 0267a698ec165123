from __future__ import annotations

import numpy as np
import pytest

from nightlab.errors import SafetyError
from nightlab.records import Channel, LimitsSpec
from robots.safety import SafetyFilter, intersect

XY = (Channel(key="xy", shape=(2,), unit="px,px", low=(0, 0), high=(100, 100)),)
WIDE = LimitsSpec(action_low={"xy": (0, 0)}, action_high={"xy": (100, 100)}, max_step={"xy": (10, 20)})


def at(x: float, y: float) -> dict[str, np.ndarray]:
    return {"xy": np.array([x, y], dtype=np.float64)}


def make() -> SafetyFilter:
    return SafetyFilter(WIDE, XY, at(50, 50))


def test_a_legal_chunk_passes_unchanged() -> None:
    safety = make()
    safety.check([at(55, 60), at(0, 100)])
    action, clamped = safety.clamp(at(55, 60))
    assert not clamped
    np.testing.assert_array_equal(action["xy"], [55, 60])


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (at(np.nan, 0), r"action 1 'xy' is not finite: \(nan, 0\) px,px; allowed: \(0.0, 0.0\) to \(100.0, 100.0\)"),
        (at(np.inf, 0), "is not finite"),
        (at(-0.1, 0), r"is out of bounds: \(-0.1, 0\)"),
        (at(0, 100.5), "is out of bounds"),
        ({"xy": np.zeros(3)}, r"has shape \(3,\), expected \(2,\)"),
        ({"xy": np.zeros((1, 2))}, r"has shape \(1, 2\), expected \(2,\)"),
        ({"xz": np.zeros(2)}, r"has keys \['xz'\], the station has: xy"),
        ({**at(0, 0), "extra": np.zeros(1)}, "has keys"),
    ],
)
def test_one_bad_action_refuses_the_whole_chunk(bad: dict[str, np.ndarray], message: str) -> None:
    with pytest.raises(SafetyError, match=message) as refusal:
        make().check([at(50, 50), bad])
    assert "the robot held" in str(refusal.value)


@pytest.mark.parametrize("count", [0, 65])
def test_a_chunk_has_1_to_64_actions(count: int) -> None:
    with pytest.raises(SafetyError, match=f"a chunk holds 1 to 64 actions, got {count}"):
        make().check([at(50, 50)] * count)


def test_a_step_is_measured_from_what_ran_last_and_shortened_per_element() -> None:
    safety = make()
    action, clamped = safety.clamp(at(100, 0))
    assert clamped
    np.testing.assert_array_equal(action["xy"], [60, 30])
    safety.ran(action)
    action, clamped = safety.clamp(at(70, 31))
    assert not clamped
    np.testing.assert_array_equal(action["xy"], [70, 31])


def test_limits_intersect_to_the_narrower() -> None:
    asked = LimitsSpec(
        action_low={"xy": (10, -50)},
        action_high={"xy": (200, 90)},
        max_step={"xy": (50, 5)},
        late_periods=2,
        max_force_N=9,
    )
    both = intersect(WIDE, asked, XY)
    assert both.action_low == {"xy": (10, 0)}
    assert both.action_high == {"xy": (100, 90)}
    assert both.max_step == {"xy": (10, 5)}
    assert both.late_periods == 2
    assert both.max_force_N == 9


def test_a_max_step_of_either_side_counts() -> None:
    without = WIDE.model_copy(update={"max_step": {}})
    assert intersect(WIDE, without, XY).max_step == WIDE.max_step
    assert intersect(without, WIDE, XY).max_step == WIDE.max_step
    assert intersect(without, without, XY).max_step == {}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"action_low": {}}, "no limits, no lease: the environment gives no low limit for action 'xy'"),
        ({"action_high": {}}, "no limits, no lease: the environment gives no high limit"),
        ({"action_low": {"xy": (0.0,)}}, "needs 2 finite numbers"),
        ({"action_high": {"xy": (np.inf, 1.0)}}, "needs 2 finite numbers"),
        ({"action_low": {"xy": (101.0, 0.0)}}, "leave nothing allowed"),
        ({"max_step": {"xy": (-1.0, 1.0)}}, "needs 2 numbers >= 0"),
        ({"max_step": {"zz": (1.0,)}}, r"unknown actions \['zz'\]; the station has: xy"),
    ],
)
def test_limits_that_protect_nothing_are_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(SafetyError, match=message):
        intersect(WIDE, WIDE.model_copy(update=change), XY)
