"""What is measured against the station's own limits, and what its limits make of commands."""

from __future__ import annotations

import numpy as np
import pytest

from nightlab.errors import NightlabError, SafetyError, UsageError
from nightlab.records import CellConfig, GripperCap, JointLimits, SafetyConfig, WorkspaceBox
from robots.driver import Primitive
from robots.drivers.configured import ConfiguredDriver
from robots.drivers.echo import EchoConfig, EchoDriver
from robots.monitor import Breach, Monitor
from robots.narrow import narrowed, step_changes
from robots.safety import SafetyFilter

JOINTS = JointLimits(
    hard_low=(-2, -2, -2), soft_low=(-1, -1, -1), soft_high=(1, 1, 1), hard_high=(2, 2, 2), max_velocity=(5, 5, 5),
    max_acceleration=(100, 100, 100), command="target",
)  # fmt: skip
FREE = JOINTS.model_copy(update={"command": ""})


def echo(rate_hz: float = 100.0) -> EchoDriver:
    return EchoDriver("e", EchoConfig(joints=3, max_step_rad=1.0), rate_hz)


def monitor(config: SafetyConfig) -> Monitor:
    robot = echo()
    return Monitor(config, 100.0, robot.joint_states(), robot.observe())


def look(eyes: Monitor, joints: tuple[float, float, float], period: int = 1, force_N: float = 0.0) -> Breach | None:
    seen = {"tool": np.array(joints), "wrench": np.array([0.0, 0.0, force_N, 0.0, 0.0, force_N])}
    return eyes.look({"joint": np.array(joints)}, seen, period)


def test_hard_limits_cut_the_power_and_soft_ones_wait_for_the_way_back() -> None:
    eyes = monitor(SafetyConfig(joints={"joint": FREE}))
    assert look(eyes, (0, 0, 0)) is None
    assert look(eyes, (0, 1.5, 0)) is None
    assert "joint 1 of 'joint' is at 1.5, beyond its soft limit (-1 to 1)" in eyes.beyond_soft
    breach = look(eyes, (0, 0, -2.5))
    assert breach is not None
    assert breach.cut, "a hard limit cuts the power"
    assert "joint 2 of 'joint' is at -2.5, beyond its hard limit (-2 to 2)" in breach.reason
    broken = look(eyes, (0, float("nan"), 0))
    assert broken is not None
    assert broken.cut, "a joint that gives no number is as bad as one at its end"
    assert look(eyes, (0, 0, 0)) is None, "and back inside all is well"
    assert not eyes.beyond_soft


def test_a_joint_that_commands_set_needs_no_soft_watch() -> None:
    eyes = monitor(SafetyConfig(joints={"joint": JOINTS}))
    assert look(eyes, (0, 1.5, 0)) is None
    assert not eyes.beyond_soft, "the filter lets it go inside the soft limits only: that is the way back"


def test_velocity_needs_two_periods_that_follow_each_other() -> None:
    eyes = monitor(SafetyConfig(joints={"joint": JOINTS}))
    assert look(eyes, (0, 0, 0), 1) is None
    assert look(eyes, (0.07, 0, 0), 2) is None, "7/s is within 1.5 times the limit"
    breach = look(eyes, (0.07, 0.1, 0), 3)
    assert breach is not None
    assert not breach.cut, "too fast is a protective stop"
    assert breach.reason == "joint 1 of 'joint' moved at 10/s, allowed 5/s"
    assert look(eyes, (0.9, 0.1, 0), 9) is None, "a gap says nothing"


@pytest.mark.parametrize(
    ("config", "says"),
    [
        (SafetyConfig(max_torque_Nm={"wrench": (9, 9, 9, 9, 9, 5)}), "torque of joint 5 in 'wrench' is 7 Nm, allowed 5"),
        (SafetyConfig(max_moment_Nm={"wrench": 5.0}), "moment at 'wrench' is 7 Nm, allowed 5"),
        (SafetyConfig(max_force_N={"wrench": 6.5}), "force at 'wrench' is 7 N, allowed 6.5"),
        (SafetyConfig(grippers=(GripperCap(max_force_N=4, channel="wrench", element=5),)), "grip at 'wrench' is 7 N, cap 4"),
        (
            SafetyConfig(workspace={"tool": WorkspaceBox(low_m=(-1, -1, -1), high_m=(1, 1, 0.5))}),
            r"'tool' is at (0, 0, 0.6) m, outside (-1.0, -1.0, -1.0) to (1.0, 1.0, 0.5)",
        ),
    ],
)  # fmt: skip
def test_loads_and_workspace_are_protective_stops(config: SafetyConfig, says: str) -> None:
    eyes = monitor(config)
    assert look(eyes, (0, 0, 0.1)) is None
    breach = look(eyes, (0, 0, 0.6), 5, force_N=7.0)
    assert breach is not None
    assert (breach.reason, breach.cut) == (says, False)


@pytest.mark.parametrize(
    ("config", "says"),
    [
        (SafetyConfig(joints={"elbow": JOINTS}), "does not measure 'elbow'; it has: joint"),
        (SafetyConfig(max_torque_Nm={"joint": (1, 1)}), "'joint' has 3 numbers, 2 are needed"),
        (SafetyConfig(workspace={"nose": WorkspaceBox(low_m=(0, 0, 0), high_m=(1, 1, 1))}), "workspace.*'nose'"),
        (SafetyConfig(grippers=(GripperCap(max_force_N=1, channel="wrench", element=6),)), "grippers.*7 are needed"),
    ],
)
def test_limits_of_what_is_not_measured_are_refused_at_the_start(config: SafetyConfig, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        monitor(config)


def test_soft_limits_velocity_and_workspace_become_bounds_of_the_command() -> None:
    spec = echo().spec()
    limits = narrowed(spec, SafetyConfig(joints={"joint": JOINTS}, late_periods=2))
    assert limits.action_high["target"] == (1, 1, 1), "soft limit"
    assert limits.max_step["target"] == (0.05, 0.05, 0.05), "5 rad/s at 100 Hz"
    assert limits.late_periods == 2
    assert step_changes(spec, SafetyConfig(joints={"joint": JOINTS})) == {"target": (0.01, 0.01, 0.01)}
    box = WorkspaceBox(low_m=(-9, -0.1, -9), high_m=(9, 0.1, 9), command="target")
    boxed = narrowed(spec, SafetyConfig(workspace={"tool": box}))
    assert boxed.action_low["target"] == (-3, -0.1, -3), "limits narrow and never widen"
    with pytest.raises(UsageError, match="no action channel 'targt' at this station; there are: target"):
        narrowed(spec, SafetyConfig(action_low={"targt": (0,)}))
    with pytest.raises(SafetyError, match="leave nothing allowed"):
        narrowed(spec, SafetyConfig(action_low={"target": (4, 4, 4)}))


def eased(start: float, targets: list[float]) -> list[float]:
    """Where a joint is after each target, under the limits of JOINTS."""
    spec, config = echo().spec(), SafetyConfig(joints={"joint": JOINTS})
    here = {"target": np.array([start, 0.0, 0.0])}
    safety = SafetyFilter(narrowed(spec, config), spec.actions, here, step_changes(spec, config))
    found = []
    for target in targets:
        action, _ = safety.clamp({"target": np.array([target, 0.0, 0.0])})
        safety.ran(action)
        found.append(float(action["target"][0]))
    return found


@pytest.mark.parametrize("target", [0.5, 0.503, -0.017])
def test_a_target_is_never_passed_however_fast_it_is_approached(target: float) -> None:
    way = np.array(eased(0.0, [target] * 60))
    assert (np.abs(way) <= abs(target)).all(), "not driven past it"
    assert way[-1] == target
    assert np.abs(np.diff(way, 2)).max() <= 0.01 + 1e-12, "eased at both ends"


def test_a_target_that_changes_sides_is_eased_too() -> None:
    way = np.array([0.0, *eased(0.0, [0.9] * 8 + [0.1] * 40)])
    assert np.abs(np.diff(way, 2)).max() <= 0.01 + 1e-12
    assert way.max() < 0.9
    assert way[-1] == 0.1


def test_from_outside_the_bounds_it_comes_back_step_by_step() -> None:
    way = np.array([1.5, *eased(1.5, [0.9] * 60)])
    assert np.abs(np.diff(way)).max() <= 0.05 + 1e-12
    assert way[-1] == 0.9


def test_acceleration_eases_a_step_and_never_leaves_the_bounds() -> None:
    spec = echo().spec()
    config = SafetyConfig(joints={"joint": JOINTS})
    zero = {"target": np.zeros(3)}
    safety = SafetyFilter(narrowed(spec, config), spec.actions, zero, step_changes(spec, config))
    here, steps = 0.0, []
    for _ in range(60):
        action, clamped = safety.clamp({"target": np.array([1.0, 0.0, 0.0])})
        safety.ran(action)
        steps.append(float(action["target"][0]) - here)
        here = float(action["target"][0])
        assert -1.0 <= here <= 1.0, "inside the bounds"
        assert clamped or here == pytest.approx(1.0), "what is eased is flagged"
    np.testing.assert_allclose(
        steps[:6], [0.01, 0.02, 0.03, 0.04, 0.05, 0.05], err_msg="1 m/s² steps up to the velocity"
    )
    assert here == pytest.approx(1.0), "and it arrives"


def configured(**settings: object) -> ConfiguredDriver:
    return ConfiguredDriver(echo(), CellConfig(station="e", driver="echo", **settings))  # type: ignore[arg-type]


def test_home_is_the_pose_of_the_file_within_the_steps() -> None:
    robot = configured(home={"target": (0.5, -0.2, 0.0)}, limits=SafetyConfig(max_step={"target": (0.1, 0.1, 0.1)}))
    before = robot.hold_action()["target"]
    for count, action in enumerate(robot.primitive(Primitive("home"))):
        assert np.abs(action["target"] - before).max() <= 0.1 + 1e-9, "steps of the limits"
        before = np.array(action["target"])
        robot.step(action)
        assert count < 20, "it ends"
    np.testing.assert_allclose(robot.hold_action()["target"], [0.5, -0.2, 0.0], atol=1e-6)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"home": {"target": (0.5,)}}, r"home.target: 1 numbers; the station's actions: target \(3\)"),
        ({"home": {"target": (9, 0, 0)}}, "outside the limits"),
        ({"rate_hz": 50.0, "kind": "x"}, "runs at 100 Hz"),
    ],
)
def test_a_file_that_does_not_fit_the_driver_is_refused(settings: dict[str, object], says: str) -> None:
    with pytest.raises(NightlabError, match=says):
        configured(**settings)


def test_a_grasp_is_cut_down_to_the_cap_of_its_gripper() -> None:
    asked: list[Primitive] = []

    class Hand(EchoDriver):
        def primitive(self, request: Primitive):  # type: ignore[no-untyped-def]
            asked.append(request)
            return iter(())

    cell = CellConfig(
        station="e", driver="echo", limits=SafetyConfig(grippers=(GripperCap(max_force_N=20, arm="left"),))
    )
    robot = ConfiguredDriver(Hand("e", EchoConfig(joints=3), 100.0), cell)
    for arm, force_N in (("left", 60.0), ("left", float("nan")), ("left", 5.0), ("right", 60.0)):
        list(robot.primitive(Primitive("grasp", arm=arm, width_m=0.0, force_N=force_N)))
    assert [request.force_N for request in asked] == [20.0, 20.0, 5.0, 60.0]
