"""A driver under its `station.yaml`: the way home, and grippers that must exist."""

from __future__ import annotations

import numpy as np
import pytest

from nightlab.errors import StationError, UsageError
from nightlab.records import CellConfig, GripperCap, SafetyConfig
from robots.driver import Primitive
from robots.drivers import make_driver
from robots.drivers.configured import ConfiguredDriver
from robots.drivers.echo import EchoConfig, EchoDriver
from robots.safety import SafetyFilter

HOME = {"target": (0.5, 0.0, 0.0)}


def home(robot: ConfiguredDriver, *, follows: bool = True) -> int:
    """Drive home under the station's safety filter; how many control periods it took."""
    safety = SafetyFilter(robot.spec().limits, robot.spec().actions, robot.hold_action())
    periods = 0
    for action in robot.primitive(Primitive("home")):
        safety.check_inward(action)
        executed, _ = safety.clamp(action)
        if follows:
            robot.step(executed)
            safety.ran(executed)
        periods += 1
    return periods


def test_home_begins_outside_the_limits_and_goes_inward() -> None:
    limits = SafetyConfig(action_high={"target": (1.0, 1.0, 1.0)})
    echo = EchoDriver("e", EchoConfig(joints=3), 100.0)
    echo.state = np.array([1.5, 0.0, 1.2])
    robot = ConfiguredDriver(echo, CellConfig(station="e", driver="echo", home=HOME, limits=limits))
    assert home(robot) < 30
    np.testing.assert_allclose(echo.state, [0.5, 0.0, 0.0], atol=1e-6)


def test_a_home_that_is_not_reached_is_an_error() -> None:
    echo = EchoDriver("e", EchoConfig(joints=3), 10.0)
    robot = ConfiguredDriver(echo, CellConfig(station="e", driver="echo", home=HOME))
    with pytest.raises(
        StationError, match=r"home was not reached: after 45 control periods the target of 'target' is 0\.5 away"
    ):
        home(robot, follows=False)


@pytest.mark.parametrize(("world", "there"), [("yam_bench", "'left', 'right'"), ("push_t", "none with a name")])
def test_a_cap_of_a_gripper_that_is_not_there_is_refused(world: str, there: str) -> None:
    cell = CellConfig(
        station="r", driver="simulated", config={"world": world},
        limits=SafetyConfig(grippers=(GripperCap(max_force_N=20, arm="letf"),)),
    )  # fmt: skip
    driver = make_driver(cell)
    with pytest.raises(
        UsageError, match=rf"limits.grippers: no arm 'letf' with a gripper at this station; there is: {there}"
    ):
        ConfiguredDriver(driver, cell)
