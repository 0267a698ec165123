"""The YAM driver: against a fake of the plugin's API, and, where it is installed, the real plugin on emulated motors."""

from __future__ import annotations

import builtins
import sys
import time
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nightlab.contracts import Station
from nightlab.errors import StationError, UsageError
from nightlab.records import CellConfig
from nightlab.testing.station import StationContract
from robots.driver import Primitive
from robots.drivers import yam
from robots.drivers.lerobot_arm import LeRobotArm
from robots.served import served
from tests.robots import yam_fake
from tests.robots.waiting import until

BOTH = {"left": {"port": "can0"}, "right": {"port": "can1"}}


@pytest.fixture
def can(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(yam, "interfaces", lambda: ["can0", "can1"])
    yam_fake.FakeChain.made.clear()
    yam_fake.YAMFollower.made.clear()
    yam_fake.YAMFollower.dead.clear()


@pytest.fixture
def plugin(can: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lerobot_robot_yam", yam_fake.module())


def made(**config: Any) -> LeRobotArm:
    return yam.make({**BOTH, **config}, CellConfig(station="robot-1", driver="yam", rate_hz=25.0))


class YamContract(StationContract):
    def open(self) -> AbstractAsyncContextManager[Station]:
        return served(made())


class TestYam(YamContract):
    """Two arms behind a station server keep the contract (fake of the plugin's API)."""

    @pytest.fixture(autouse=True)
    def _plugin(self, plugin: None) -> None: ...


class TestYamPlugin(YamContract):
    """The real plugin on emulated motors keeps the contract."""

    @pytest.fixture(autouse=True)
    def _motors(self, can: None, monkeypatch: pytest.MonkeyPatch) -> None:
        import yam_common.yam_arm

        monkeypatch.setattr(yam_common.yam_arm, "DMChainCanInterface", yam_fake.FakeChain)

    def test_an_estop_takes_the_stiffness_off_and_clearing_brings_it_back(self) -> None:
        driver = made()
        chains = [chain for chain in yam_fake.FakeChain.made if not chain.closed]
        assert len(chains) == 2, "one chain per arm"
        driver.step(driver.hold_action())
        assert until(lambda: all((chain.stiff > 0).any() for chain in chains))
        driver.stop("test")
        assert until(lambda: not any(chain.stiff.any() for chain in chains)), "no stiffness"
        driver.clear()
        assert until(lambda: all((chain.stiff > 0).any() for chain in chains)), "stiff again"
        driver.close()
        assert all(chain.closed for chain in chains), "no wait for ENTER"


@pytest.mark.usefixtures("plugin")
def test_channels_of_two_arms_in_rad_and_of_one_without_prefix() -> None:
    driver = made(margin_rad=0.1)
    spec = driver.spec()
    assert spec.kind == "yam_bimanual_joints"
    assert [channel.key for channel in spec.actions] == [
        "left_joint_target", "left_gripper_target", "right_joint_target", "right_gripper_target",
    ]  # fmt: skip
    assert spec.limits.action_high["left_joint_target"][1] == pytest.approx(3.7), "the plugin's limit less the margin"
    seen = driver.observe()
    np.testing.assert_allclose(seen["left_joint_pos"], yam_fake.START_rad, atol=1e-6)
    assert seen["right_gripper_open"][0] == pytest.approx(0.5)
    np.testing.assert_allclose(driver.joint_states()["left_joint_torque"], 0.1 * np.arange(1, 7))
    driver.close()
    alone = yam.make({"left": {"port": "can0"}}, CellConfig(station="robot-1", driver="yam"))
    assert [channel.key for channel in alone.spec().actions] == ["joint_target", "gripper_target"]
    alone.close()


@pytest.mark.usefixtures("plugin")
def test_a_command_reaches_its_own_arm_and_primitives_move_it() -> None:
    driver = made()
    for action in driver.primitive(Primitive("move_to_pose", arm="right", pose=(0.3, 1.2, 0.9, 0.1, 0.0, -0.2))):
        driver.step(action)
        time.sleep(0.02)
    seen = driver.observe()
    np.testing.assert_allclose(seen["right_joint_pos"], (0.3, 1.2, 0.9, 0.1, 0.0, -0.2), atol=0.15)
    np.testing.assert_allclose(seen["left_joint_pos"], yam_fake.START_rad, atol=0.02, err_msg="the other stays")
    for action in driver.primitive(Primitive("release", arm="left")):
        driver.step(action)
        time.sleep(0.02)
    assert driver.observe()["left_gripper_open"][0] > 0.95
    with pytest.raises(StationError, match="no arm 'third' at this station; there is: 'left', 'right'"):
        driver.primitive(Primitive("grasp", arm="third"))
    driver.close()


@pytest.mark.usefixtures("plugin")
def test_nothing_ever_waits_for_enter(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object) -> str:
        raise AssertionError("asked at the terminal")

    monkeypatch.setattr(builtins, "input", never)
    driver = made(gripper_force_N=12.0, max_step_percent=2.0)
    for arm in yam_fake.YAMFollower.made:
        assert not arm.config.shutdown_zero_gravity_wait_for_enter
        assert (arm.config.limit_gripper_force, arm.config.lerobot_max_step) == (12.0, 4.0)
    driver.close()
    assert not any(arm.is_connected for arm in yam_fake.YAMFollower.made)


@pytest.mark.usefixtures("plugin")
@pytest.mark.parametrize("how", ["float", "hold"])
def test_an_estop_floats_or_holds(how: str) -> None:
    driver = made(estop=how)
    arms = yam_fake.YAMFollower.made
    still = driver.hold_action()
    driver.step({**still, "left_joint_target": still["left_joint_target"] + 0.02})
    driver.stop("test")
    assert [bool(arm.chain.stiff.any()) for arm in arms] == [how == "hold"] * 2
    with pytest.raises(StationError, match="e-stop: test"):
        driver.step(still)
    arms[0].chain.pos[0] += 0.2
    driver.clear()
    assert all(arm.chain.stiff.any() for arm in arms)
    if how == "float":
        assert driver.hold_action()["left_joint_target"][0] == pytest.approx(0.2, abs=0.03), "from where it is now"
    driver.close()


@pytest.mark.usefixtures("plugin")
def test_an_arm_that_takes_no_orders_keeps_no_other_from_stopping(capsys: pytest.CaptureFixture[str]) -> None:
    driver = made()
    left, right = yam_fake.YAMFollower.made
    driver.step(driver.hold_action())
    left.deaf = True
    with pytest.raises(
        StationError, match=r"^power not cut: the left arm: control loop is not running; cut it by hand$"
    ):
        driver.stop("test")
    assert not right.chain.stiff.any(), "the other one floats"
    left.deaf = False
    driver.stop("test")
    assert not left.chain.stiff.any()
    left.deaf = True
    driver.close()
    assert "closing: the left arm: control loop is not running" in capsys.readouterr().err
    assert not right.is_connected, "and is closed"


@pytest.mark.usefixtures("plugin")
def test_an_arm_that_rests_outside_its_limits_stays_there_and_home_brings_it_inside() -> None:
    driver = made(left={"port": "can0", "low_rad": {"shoulder_lift": 1.5}}, max_speed_rad_per_s=2.0)
    assert driver.hold_action()["left_joint_target"][1] == pytest.approx(1.0), "its target is where it is"
    driver.step(driver.hold_action())
    assert yam_fake.YAMFollower.made[0].chain.pos[1] == pytest.approx(1.0, abs=1e-6), "holding does not move it"
    for action in driver.primitive(Primitive("home")):
        driver.step(action)
        time.sleep(0.02)
    assert driver.observe()["left_joint_pos"][1] == pytest.approx(1.5, abs=0.15), "inside its limits"
    driver.close()


@pytest.mark.usefixtures("plugin")
def test_a_linear_gripper_brings_its_own_limits_and_gains() -> None:
    linear = {"port": "can0", "gripper_type": "linear_3507"}
    with pytest.raises(
        UsageError, match=r"left: linear_3507 on can0 needs gripper_limits_rad: \[open, closed\]"
    ) as caught:
        made(left=linear)
    assert "\n" not in str(caught.value)
    driver = made(left={**linear, "gripper_limits_rad": [0.0, 6.4]})
    left, right = (arm.config for arm in yam_fake.YAMFollower.made[-2:])
    assert (left.gripper_limits, left.kp_gains["gripper"], left.kd_gains["gripper"]) == ((0.0, 6.4), 10.0, 0.3)
    assert (right.gripper_limits, right.kp_gains["gripper"], right.kd_gains["gripper"]) == ((0.0, -2.7), 20.0, 0.5)
    driver.close()


def test_what_is_absent_or_wrong_is_one_line_with_the_fix(can: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(says: str, kind: type[Exception], config: dict[str, Any]) -> None:
        with pytest.raises(kind, match=says) as caught:
            yam.make(config, CellConfig(station="robot-1", driver="yam", folder=Path()))
        assert "\n" not in str(caught.value)

    monkeypatch.setitem(sys.modules, "lerobot_robot_yam", None)
    refused(r"needs the LeRobot plugin for YAM arms.*pip install 'nightlab\[yam\]'", StationError, BOTH)
    monkeypatch.setitem(sys.modules, "lerobot_robot_yam", yam_fake.module())
    refused(r"no arm; say config", UsageError, {})
    refused(
        r"no CAN interface can7; there is: can0, can1.*ip link set can7 up", StationError, {"left": {"port": "can7"}}
    )
    refused(r"unknown joint 'knee'", UsageError, {"left": {"port": "can0", "low_rad": {"knee": 1.0}}})
    yam_fake.YAMFollower.dead.add("can1")
    refused(r"the YAM arm on can1 does not answer: .*Is its power on", StationError, BOTH)
    assert not yam_fake.YAMFollower.made[-2].is_connected, "the arm that did answer is let go"
