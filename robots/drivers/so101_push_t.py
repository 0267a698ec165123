"""Driver `so101_push_t`: Push-T on a table, pushed by one SO-101 and watched by one camera. The consumer edition.

The arm holds a rod that points at the table; `target_xy` is where the rod's tip shall be, px of the table as in the
simulated station, and so are the channels, the camera `top` (straightened, in the printed colours) and the kind: policies
and the environment `push_t` do not know the difference. See docs/so101.md and examples/so101/station.yaml.

The tip keeps its height above the table. Until the first target that differs from where it is, the arm stays as it
stands, wherever that is; then it goes to a place above the target and slowly down, and from there on along the table, at
`max_speed_m_per_s` at most. After an e-stop it begins anew.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from typing import Any, Final, cast

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from nightlab import geometry as g
from nightlab.contracts import Values, World
from nightlab.errors import SafetyError, StationError, UsageError
from nightlab.records import CameraConfig, CameraSpec, CellConfig, Channel, LimitsSpec, Record, StationSpec
from robots.driver import Camera, Driver, Primitive
from robots.drivers import so101
from robots.drivers.options import read_options
from robots.drivers.push_t import push_t_primitive
from robots.drivers.push_t_table import SIZE_px, Table
from robots.drivers.scaling import square
from robots.drivers.so101_kinematics import Kinematics, Tip

RATE_HZ: Final = 10.0
MAX_STEP_px: Final = 80.0
ARRIVED_rad: Final = 0.06
DESCENT_m: Final = 0.01
"""Per control period."""
LOST_periods: Final = 20
"""Control periods for which the last pose of a hidden T is given; then the station is at fault."""


class TableOptions(Record):
    """Where table, arm and rod are."""

    side_m: float = Field(gt=0.05, le=0.5)
    """Side of the table: 512 px."""
    axis_xy_px: tuple[float, float]
    """Where the arm's pan axis stands, px of the table; it is beside it."""
    forward_rad: float
    """Which way the arm points at pan 0: 0 along the table's x, pi/2 along its y."""
    tip_height_m: float = 0.0
    """Height of the rod's tip while pushing, above the bottom of the arm's base."""
    lift_m: float = Field(default=0.06, ge=0.02)
    """How much higher it travels before it has come down."""
    tool_m: tuple[float, float] = (0.0, 0.0)
    """The rod's tip from the fixed jaw's: (further out, further up) while the hand points forward."""
    lean_rad: float = Field(default=math.pi / 2, ge=0.5, le=2.0)
    """How far the hand leans: pi/2 straight down; less reaches farther."""
    joint_offset_rad: tuple[float, float, float, float, float] = (0.0, 0.0, 0.0, 0.0, 0.0)
    """Added to LeRobot's joint angles, where the middle of a joint's range is not the model's zero."""
    gripper: float = Field(default=0.0, ge=0, le=1)
    """Opening of the jaws that holds the rod."""
    max_speed_m_per_s: float = Field(default=0.15, gt=0, le=0.5)


class PushTOptions(Record):
    """The `config` section of driver `so101_push_t`."""

    arm: dict[str, Any]
    """Settings of driver `so101`."""
    table: TableOptions
    camera: CameraConfig
    """The camera above the table."""
    corners_px: tuple[tuple[float, float], ...]
    """Corners of the table in the camera's picture: those at (0, 0), (512, 0), (512, 512) and (0, 512) px."""
    colours: dict[str, tuple[float, float, float]]
    """RGB of `paper`, `goal`, `block` and `agent` as the camera sees them."""


def make(config: Mapping[str, Any], cell: CellConfig) -> So101PushT:
    """The driver of `station.yaml`.

    Raises:
        UsageError: settings that it does not take; a table that the arm cannot reach.
        StationError: see driver `so101` and the camera's.
    """
    from robots.drivers import open_cameras

    options = read_options(PushTOptions, config, f"driver 'so101_push_t' of {cell.station}")
    view = Table(options.corners_px, options.colours)
    inner = cell.model_copy(update={"rate_hz": RATE_HZ, "kind": "so101", "home": {}})
    arm = so101.make(options.arm, inner)
    try:
        reach = Reach(options.table, arm.spec())
        camera = open_cameras(cell.model_copy(update={"cameras": {"top": options.camera}}))["top"]
    except BaseException:
        arm.close()
        raise
    return So101PushT(cell.station, arm, camera, view, reach)


class Reach:
    """Table pixels ↔ joints of the arm, within its limits.

    Raises:
        UsageError: part of the table is out of reach; says which, and what to change.
    """

    def __init__(self, options: TableOptions, arm: StationSpec) -> None:
        self.options = options
        self.kinematics = Kinematics(options.tool_m, options.joint_offset_rad)
        self._m_per_px = options.side_m / g.TABLE_PX
        self.low, self.high = (
            np.array(limits["joint_target"]) for limits in (arm.limits.action_low, arm.limits.action_high)
        )
        self.max_step = np.array(arm.limits.max_step["joint_target"])
        self.max_step_px = min(MAX_STEP_px, options.max_speed_m_per_s / RATE_HZ / self._m_per_px)
        self.edge_px = g.AGENT_RADIUS_PX
        ends = np.linspace(self.edge_px, g.TABLE_PX - self.edge_px, 7)
        places = list(itertools.product(ends, ends))
        lost = [place for place in places for z in (0.0, options.lift_m) if self.joints(place, z) is None]
        if lost:
            x, y = lost[0]
            raise UsageError(
                f"table: {len(set(lost))} of {len(places)} places are out of the arm's reach, e.g. ({x:.0f}, {y:.0f}) px; "
                f"side_m {options.side_m:g} smaller, axis_xy_px nearer or farther, or lean_rad less"
            )

    def joints(self, xy_px: tuple[float, float], lift_m: float = 0.0) -> NDArray[np.float64] | None:
        """The five joints, rad, of a place on the table; None: out of reach or beyond a limit."""
        o = self.options
        dx, dy = ((a - b) * self._m_per_px for a, b in zip(xy_px, o.axis_xy_px, strict=True))
        c, s = math.cos(o.forward_rad), math.sin(o.forward_rad)
        tip = Tip(math.hypot(dx, dy), o.tip_height_m + lift_m, math.atan2(c * dy - s * dx, c * dx + s * dy), o.lean_rad)
        found = self.kinematics.joints(tip)
        if found is None or (np.array(found) < self.low).any() or (np.array(found) > self.high).any():
            return None
        return np.array(found)

    def place(self, joints_rad: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
        """Where the tip is: (2,) px, and its height above where it pushes, m."""
        o, tip = self.options, self.kinematics.tip(tuple(joints_rad.tolist()))
        bearing = o.forward_rad + tip.pan_rad
        x, y = (
            axis + tip.r_m * part / self._m_per_px
            for axis, part in zip(o.axis_xy_px, (math.cos(bearing), math.sin(bearing)), strict=True)
        )
        return np.array([x, y]), tip.z_m - o.tip_height_m


class So101PushT:
    """Implements `robots.driver.Driver` for a station of kind `push_t`.

    Args:
        station_id: e.g. `robot-1`.
        arm: driver `so101`, at 10 Hz.
        camera: looks at the whole table.
        view: straightens its pictures.
        reach: table and arm.
    """

    def __init__(self, station_id: str, arm: Driver, camera: Camera, view: Table, reach: Reach) -> None:
        self._arm, self._camera, self._view, self._reach = arm, camera, view, reach
        size = (g.TABLE_PX, g.TABLE_PX)
        low, high = (reach.edge_px,) * 2, (g.TABLE_PX - reach.edge_px,) * 2
        self._spec = StationSpec(
            station_id=station_id, kind="push_t", rate_hz=RATE_HZ, speed=1.0, simulated=False,
            observations=(
                Channel(key="agent_xy", shape=(2,), unit="px,px", low=(0.0, 0.0), high=size,
                        description="position of the rod's tip, from the joints"),
                Channel(key="block_pose", shape=(3,), unit="px,px,rad", low=(0.0, 0.0, -math.pi),
                        high=(*size, math.pi), description="pose of the T's body frame, by the camera"),
            ),
            actions=(
                Channel(key="target_xy", shape=(2,), unit="px,px", low=(0.0, 0.0), high=size,
                        description=f"target of the rod's tip; it stays {reach.edge_px:g} px inside the table"),
            ),
            cameras=(
                CameraSpec(key="top", width_px=SIZE_px, height_px=SIZE_px, serial=camera.spec().serial,
                           description="1 px = 1 px of the table: straightened, in the printed colours"),
            ),
            limits=LimitsSpec(
                action_low={"target_xy": (0.0, 0.0)}, action_high={"target_xy": size},
                max_step={"target_xy": (reach.max_step_px,) * 2},
            ),
        )  # fmt: skip
        self._low, self._high = np.array(low), np.array(high)
        self._target: NDArray[np.float64] = np.zeros(2)
        self._lift_m = 0.0
        self._resting = True
        self._rest()
        self._pose: NDArray[np.float64] | None = None
        self._hidden = 0

    def spec(self) -> StationSpec:
        return self._spec

    def step(self, action: Values) -> None:
        """One control period towards `target_xy`: first above it, then down, then along the table."""
        target = np.asarray(action["target_xy"], dtype=np.float64)
        if target.shape != (2,) or not np.isfinite(target).all() or (target < 0).any() or (target > g.TABLE_PX).any():
            raise SafetyError(f"target_xy = {target.tolist()} is not on the table, 0 to 512 px; the robot held")
        inside = np.clip(target, self._low, self._high)
        before = self._arm.hold_action()
        if self._resting and np.array_equal(target, self._target):
            self._arm.step(before)
            return
        self._resting = False
        here = np.asarray(self._arm.observe()["joint_pos"])
        goal = self._reach.joints((float(inside[0]), float(inside[1])), self._lift_m)
        if goal is None:
            raise SafetyError(f"target_xy = {target.tolist()} is out of the arm's reach; the robot held")
        if float(np.abs(here - goal)[:4].max()) < ARRIVED_rad:
            self._lift_m = max(0.0, self._lift_m - DESCENT_m)
        step = np.clip(goal - before["joint_target"], -self._reach.max_step, self._reach.max_step)
        self._arm.step(
            {"joint_target": before["joint_target"] + step, "gripper_target": np.array([self._reach.options.gripper])}
        )
        self._target = target.copy()

    def observe(self) -> dict[str, NDArray[np.float64]]:
        """Tip and T. Raises StationError: the T cannot be seen for 2 s, or the camera is stale."""
        xy_px, _ = self._reach.place(np.asarray(self._arm.observe()["joint_pos"]))
        pose = self._view.block_pose(self._view.straightened(self._camera.render()), self._pose)
        if pose is not None:
            self._pose, self._hidden = pose, 0
        else:
            self._hidden += 1
        if self._pose is None or self._hidden > LOST_periods:
            raise StationError(
                "the T is not seen on the table. Is it there, is the light as when `colours` were measured, is nothing "
                "before the camera? Look: python -m robots.drivers.push_t_setup picture station.yaml"
            )
        return {"agent_xy": np.clip(xy_px, 0.0, g.TABLE_PX), "block_pose": self._pose.copy()}

    def hold_action(self) -> dict[str, NDArray[np.float64]]:
        """The latest target; where the tip is, brought onto the table, before the first and after an e-stop."""
        return {"target_xy": self._target.copy()}

    def joint_states(self) -> dict[str, NDArray[np.float64]]:
        """`joint_pos` (5,) rad and `gripper_open` (1,) of the arm."""
        return self._arm.joint_states()

    def render(self, camera: str, size_px: int | None = None) -> NDArray[np.uint8]:
        """The table from above, straightened. Raises StationError: no such camera, or it is stale."""
        if camera != "top":
            raise StationError(f"no camera {camera!r} at this station; there is: top")
        return square(self._view.straightened(self._camera.render()), size_px)

    def render_depth(self, camera: str) -> NDArray[np.float32] | None:
        return None

    def primitive(self, request: Primitive) -> Iterator[Values]:
        """`home` and `move_to_pose` (x, y) px, as at a simulated station."""
        return push_t_primitive(cast("World", self), request)

    def stop(self, reason: str) -> None:
        self._arm.stop(reason)

    def clear(self) -> None:
        """After an e-stop it goes up before it goes anywhere else."""
        self._arm.clear()
        self._rest()

    def _rest(self) -> None:
        """The arm stays where it is until it is told to go elsewhere; then it goes up first."""
        xy_px, _ = self._reach.place(np.asarray(self._arm.observe()["joint_pos"]))
        self._target = np.clip(xy_px, 0.0, g.TABLE_PX)
        self._lift_m = self._reach.options.lift_m
        self._resting = True

    def close(self) -> None:
        """Let go of arm and camera."""
        self._camera.close()
        close = getattr(self._arm, "close", None)
        if close is not None:
            close()
