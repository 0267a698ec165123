"""The bench of pin insertion on MuJoCo: two 6-axis arms under Cartesian impedance, a pin box, RGB-D cameras.

Per control period (50 ms) 25 physics steps of 2 ms. The targets move linearly within a period, as a robot's own
interpolator would do it. Each arm is a spring-damper from its TCP to its target in the table frame (MuJoCo site
actuators: J^T (K (target − pose) − D velocity)), with joint friction, so a soft arm sticks off its target.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from nightlab import pin_box as box
from nightlab.contracts import Values
from nightlab.errors import StationError
from nightlab.records import StationSpec
from robots.profiles import YamBenchProfile
from robots.worlds import yam_bench_spec as bench
from robots.worlds.yam_bench_arm import solve_ik
from robots.worlds.yam_bench_camera import Cameras, jitter
from robots.worlds.yam_bench_look import compiled
from robots.worlds.yam_bench_model import CHIPS_m, DT_s, Layout, bench_xml
from robots.worlds.yam_bench_pins import Pins

START_KEYS: Final = ("hole", "tip_x_m", "tip_y_m", "tip_z_m", "yaw_rad")
"""Keys of a start: target hole, pin tip relative to the hole's mouth, yaw of the right gripper; `truth` gives them back."""
ANNOUNCE_KEYS: Final = ("hole",)
"""`teleport` with only these moves nothing: it names the target hole and draws the episode's traits and estimates."""
LOOSE_KEYS: Final = (
    *START_KEYS, "pin_x_m", "pin_y_m", "pin_z_m", "pin_rx_rad", "pin_ry_rad", "pin_rz_rad", "bottom_m",
)  # fmt: skip
"""A start without a pin in the gripper, for the verifier workbench: the pin's own pose, from which it comes to rest, and
how deep the target hole is (chips may lie in it)."""
START: Final = dict(zip(START_KEYS, (0.0, 0.0, 0.0, 0.045, 0.0), strict=True))
SUBSTEPS: Final = round(1 / bench.RATE_HZ / DT_s)
SETTLE_STEPS: Final = 150
"""Physics steps after a teleport until the grip holds."""
FREE_N: Final = 2.0
"""A wrist that feels less is tared when an episode is announced."""
LOOSE_FINGER_m: Final = 0.02
"""Where a finger stands after a start with LOOSE_KEYS."""
ARMS: Final = ("left", "right")
POSE: Final = {"left": slice(0, 6), "right": slice(7, 13)}
"""Actuators that pull on a TCP; the jaws' one follows."""
JAWS: Final = {"left": 6, "right": 13}
JOINTS: Final = {"left": slice(0, 6), "right": slice(8, 14)}
FINGERS: Final = {"left": slice(6, 8), "right": slice(14, 16)}
PINS: Final = 16
"""First of the pins' numbers in qpos; seven each."""

Array = NDArray[np.float64]


class YamBenchWorld:
    """One simulated bench, sampled from a profile by `station_seed`. Implements `nightlab.contracts.World`."""

    def __init__(self, profile: YamBenchProfile, station_seed: int) -> None:
        import mujoco

        self.profile = profile
        self.station_seed = station_seed
        self._mujoco: Any = mujoco
        self._station = profile.sample_station(station_seed)
        at = self._station.values
        layout = Layout(at["plate_x_m"], at["plate_y_m"], at["plate_yaw_rad"], profile.pins)
        self._mouths = box.hole_mouths(layout.plate_x_m, layout.plate_y_m, layout.plate_yaw_rad)
        self._model = compiled(bench_xml(layout), profile.look)
        self._data = mujoco.MjData(self._model)
        self._scratch = mujoco.MjData(self._model)
        self._hands = [self._model.body(f"{arm}_hand").id for arm in ARMS]
        self._wrists = [self._model.site(f"{arm}_wrist").id for arm in ARMS]
        self._pins = Pins(self._model, self._data, self._mouths, profile.pins)
        self._home_rad = {arm: solve_ik(self._model, self._scratch, arm, bench.HOME_POSE[arm]) for arm in ARMS}
        self._cameras = Cameras(self._model, bench.CAMERA_KEYS, station_seed)
        self._lights = self._model.light_diffuse.copy(), self._model.light_ambient.copy()
        jitter(self._model, station_seed, at["camera_jitter_m"], at["camera_jitter_rad"])
        self._ticks = 0
        self._tare: Array = np.zeros((2, 6))
        self.teleport(START, episode_seed=0)

    def spec(self, station_id: str, speed: float) -> StationSpec:
        return bench.bench_spec(station_id, speed, self.profile.name)

    # -- episodes

    def teleport(self, start: Mapping[str, float], episode_seed: int) -> None:
        """A fresh scene at `start` (keys START_KEYS): the pin in the right gripper, all at rest; draws the traits.

        With ANNOUNCE_KEYS alone nothing moves: the station only learns the episode's target hole and estimates. With
        LOOSE_KEYS the gripper is open and the pin falls from where it was put.

        Raises:
            StationError: a key is missing or unknown, a number is not finite, or the arm cannot reach the start.
        """
        known = set(start) in (set(START_KEYS), set(ANNOUNCE_KEYS), set(LOOSE_KEYS))
        if not known or not all(math.isfinite(value) for value in start.values()):
            raise StationError(f"teleport to {dict(start)}: a start needs finite numbers for {', '.join(START_KEYS)}")
        if start["hole"] not in range(len(box.HOLES)):
            raise StationError(f"teleport to hole {start['hole']:g}: the plate has holes 0 to {len(box.HOLES) - 1}")
        self._rng = np.random.default_rng([0xB0C5, abs(int(self.station_seed)), abs(int(episode_seed))])
        self.traits = self._station.episode(self._rng)
        self._hole = int(start["hole"])
        draw = self._rng.normal(size=11)
        noise_m = self.traits["hole_noise_m"] * np.array([1.0, 1.0, 0.2])
        self._hole_estimate = np.array(self._mouths[self._hole]) + draw[:3] * noise_m
        self._pin_error = draw[3:9] * ([self.traits["pin_noise_m"]] * 3 + [self.traits["pin_noise_rad"]] * 3)
        self._apply_traits()
        self._top_force_N = 0.0
        if set(start) >= set(START_KEYS):
            self._place(start, draw[9] * self.traits["grasp_tilt_rad"], draw[10] * self.traits["grasp_slip_m"])
        elif float(np.abs(self._tare - self._wrench())[:, :3].max()) < FREE_N:
            self._tare = self._wrench()
        self._set_stiffness()
        self._ahead: Array = np.tile(self._target, (round(self.traits["action_latency_s"] / DT_s), 1))
        self._stopped, self._peak_N = 0, np.zeros(2)
        self._ticks += 1
        first = self._sense()
        delay = int(self.traits["observation_delay_steps"])
        self._seen = deque([first] * (delay + 1), maxlen=delay + 1)

    def _apply_traits(self) -> None:
        model, traits = self._model, self.traits
        friction = traits["joint_friction_Nm"]
        for first in (0, 8):
            model.dof_frictionloss[first : first + 3] = friction
            model.dof_frictionloss[first + 3 : first + 6] = 0.3 * friction
        for body in (self._model.body("plate").id, *self._pins.bodies):
            first, count = model.body_geomadr[body], model.body_geomnum[body]
            model.geom_friction[first : first + count, 0] = traits["contact_friction"]
        for arm in ARMS:
            for finger in ("a", "b"):
                body = model.body(f"{arm}_finger_{finger}").id
                first, count = model.body_geomadr[body], model.body_geomnum[body]
                model.geom_friction[first : first + count, 0] = traits["pad_friction"]
            grip_N = traits["grip_force_N"]
            model.actuator_forcerange[JAWS[arm]] = (-grip_N, grip_N)
        for light, drawn in zip((model.light_diffuse, model.light_ambient), self._lights, strict=True):
            light[:] = np.clip(drawn * traits["light"], 0.0, 1.0)

    def _place(self, start: Mapping[str, float], tilt_rad: float, slip_m: float) -> None:
        mujoco, model, data = self._mujoco, self._model, self._data
        mouth = self._mouths[self._hole]
        tip = np.add(mouth, [start[key] for key in START_KEYS[1:4]])
        yaw, lean = np.zeros(4), np.zeros(4)
        mujoco.mju_axisAngle2Quat(yaw, np.array([0.0, 0.0, 1.0]), start["yaw_rad"])
        mujoco.mju_axisAngle2Quat(lean, np.array([1.0, 0.0, 0.0]), tilt_rad)
        turn, up = np.zeros(4), np.zeros(3)
        mujoco.mju_mulQuat(turn, yaw, lean)
        mujoco.mju_rotVecQuat(up, np.array([0.0, -slip_m, box.GRASP_TO_TIP_m]), turn)
        pose = np.array([*(tip + up), 0.0, 0.0, start["yaw_rad"]])
        mujoco.mj_resetData(model, data)
        data.qpos[JOINTS["left"]] = self._home_rad["left"]
        data.qpos[JOINTS["right"]] = solve_ik(model, self._scratch, "right", pose.tolist())
        data.qpos[FINGERS["right"]] = box.HEAD_m / 2 - 0.0002
        data.qpos[PINS : PINS + 3] = tip
        data.qpos[PINS + 3 : PINS + 7] = turn
        for number in range(1, self.profile.pins):
            at = PINS + 7 * number
            rack_y = box.RACK_XY_m[1] + (number - 2) * box.RACK_PITCH_m
            data.qpos[at : at + 7] = (box.RACK_XY_m[0], rack_y, box.PLATE_TOP_m - 0.02 + 0.0002, 1, 0, 0, 0)
        loose = "bottom_m" in start
        if loose:
            self._loosen(start, mouth)
        mujoco.mj_forward(model, data)
        self._target: Array = np.array(data.actuator_length)
        self._target[POSE["right"]] = pose
        self._target[JAWS["left"]], self._target[JAWS["right"]] = 0.0, 2 * LOOSE_FINGER_m if loose else 0.0
        self._wanted = self._target.copy()
        self._stiffness = dict.fromkeys(ARMS, bench.STIFFNESS)
        self._set_stiffness()
        data.ctrl[:] = self._target
        for _ in range(3 * SETTLE_STEPS if loose else SETTLE_STEPS):
            mujoco.mj_step(model, data)
        self._tare = self._wrench()

    def _loosen(self, start: Mapping[str, float], mouth: tuple[float, float, float]) -> None:
        """Open the right gripper, put the pin where `start` has it, and chips into the target hole."""
        data, turn = self._data, np.array([start[f"pin_r{axis}_rad"] for axis in "xyz"])
        data.qpos[FINGERS["right"]] = LOOSE_FINGER_m
        data.qpos[PINS : PINS + 3] = [start[f"pin_{axis}_m"] for axis in "xyz"]
        angle = float(np.linalg.norm(turn))
        quat = np.array([1.0, 0.0, 0.0, 0.0])
        if angle > 0:
            self._mujoco.mju_axisAngle2Quat(quat, turn / angle, angle)
        data.qpos[PINS + 3 : PINS + 7] = quat
        data.mocap_pos[0] = (mouth[0], mouth[1], mouth[2] - start["bottom_m"] - CHIPS_m[2])

    # -- physics

    def _set_stiffness(self) -> None:
        gain = self.traits["gain_factor"]
        for arm in ARMS:
            k_t, k_r = (gain * value for value in self._stiffness[arm])
            at = POSE[arm]
            stiff = np.array([k_t] * 3 + [k_r] * 3)
            damp = np.array([2.0 * math.sqrt(k_t * 1.2)] * 3 + [2.0 * math.sqrt(k_r * 0.012)] * 3)
            self._model.actuator_gainprm[at, 0] = stiff
            self._model.actuator_biasprm[at, 1] = -stiff
            self._model.actuator_biasprm[at, 2] = -damp

    def step(self, action: Values) -> None:
        """Run one control period towards the action's targets.

        Raises:
            StationError: the physics diverged; teleport or configure to go on.
        """
        for arm in ARMS:
            self._wanted[POSE[arm]] = action[f"{arm}_pose"]
            self._wanted[JAWS[arm]] = action[f"{arm}_width"][0]
        stiffness = {arm: tuple(action[f"{arm}_stiffness"].tolist()) for arm in ARMS}
        if stiffness != self._stiffness:
            self._stiffness = stiffness
            self._set_stiffness()
        if self._stopped:
            self._stopped -= 1
            goal = self._target
        else:
            reach = np.array([*bench.MAX_STEP, bench.OPEN_m] * 2)
            goal = np.clip(self._wanted, self._target - reach, self._target + reach)
        share = np.arange(1, SUBSTEPS + 1)[:, None] / SUBSTEPS
        rows = np.concatenate([self._ahead, self._target + share * (goal - self._target)])
        self._target, self._ahead = goal, np.asarray(rows[SUBSTEPS:])
        self._ticks += 1
        self._run(rows)
        self._seen.append(self._sense())

    def _run(self, rows: Array) -> None:
        model, data, mj_step = self._model, self._data, self._mujoco.mj_step
        ctrl, force_of = data.ctrl, data.cfrc_int
        left, right = self._hands
        forces: Array = np.empty((SUBSTEPS, 2, 3))
        for k in range(SUBSTEPS):
            ctrl[:] = rows[k]
            mj_step(model, data)
            forces[k, 0] = force_of[left, 3:]
            forces[k, 1] = force_of[right, 3:]
        if any(data.warning[number].number for number in (4, 5, 6)):
            raise StationError("the physics of this bench diverged; reset it with teleport")
        forces = self._tare[:, :3] - forces
        noise_N = self.traits["force_noise_N"]
        if noise_N > 0:
            forces += noise_N * self._rng.standard_normal(forces.shape)
        self._peak_N = np.sqrt((forces * forces).sum(axis=2).max(axis=0))
        top_N = float(self._peak_N.max())
        self._top_force_N = max(self._top_force_N, top_N)
        if top_N > bench.STOP_FORCE_N and not self._stopped:
            self._stopped = bench.STOP_PERIODS
            for arm in ARMS:
                self._target[POSE[arm]] = data.actuator_length[POSE[arm]]
            self._ahead[:] = self._target

    # -- sensors

    def _wrench(self) -> Array:
        """(2, 6) what the world does to the grippers, table axes, before taring minus the tare; negated readings."""
        out = np.empty((2, 6))
        sensors = self._data.sensordata
        for number, (hand, wrist) in enumerate(zip(self._hands, self._wrists, strict=True)):
            out[number, :3] = self._data.cfrc_int[hand, 3:]
            out[number, 3:] = self._data.site_xmat[wrist].reshape(3, 3) @ sensors[6 * number + 3 : 6 * number + 6]
        return out

    def _sense(self) -> dict[str, Array]:
        data, traits, rng = self._data, self.traits, self._rng
        wrench = self._tare - self._wrench()
        wrench += rng.standard_normal((2, 6)) * ([traits["force_noise_N"]] * 3 + [traits["torque_noise_Nm"]] * 3)
        seen: dict[str, Array] = {}
        for number, arm in enumerate(ARMS):
            joints = JOINTS[arm]
            noise = rng.standard_normal(6) * ([traits["tcp_noise_m"]] * 3 + [traits["tcp_noise_rad"]] * 3)
            seen[f"{arm}_q"] = data.qpos[joints].copy()
            seen[f"{arm}_qd"] = data.qvel[joints].copy()
            seen[f"{arm}_tcp"] = data.actuator_length[POSE[arm]] + noise
            jaws = JAWS[arm]
            seen[f"{arm}_gripper"] = np.array([data.actuator_length[jaws], -data.actuator_force[jaws]])
            seen[f"{arm}_wrench"] = wrench[number]
        seen["peak_force"] = self._peak_N.copy()
        seen["hole_estimate"] = self._hole_estimate.copy()
        seen["pin_estimate"] = self._pins.pose(self._pins.held()) + self._pin_error
        seen["target_hole"] = np.array([float(self._hole)])
        return seen

    def observe(self) -> dict[str, Array]:
        """What the sensors say at this tick; asking twice gives the same."""
        return {key: value.copy() for key, value in self._seen[0].items()}

    def hold_action(self) -> dict[str, Array]:
        """The latest targets."""
        out = {}
        for arm in ARMS:
            out[f"{arm}_pose"] = self._target[POSE[arm]].copy()
            out[f"{arm}_width"] = self._target[[JAWS[arm]]]
            out[f"{arm}_stiffness"] = np.array(self._stiffness[arm])
        return out

    def render(self, camera: str, size_px: int | None = None) -> NDArray[np.uint8]:
        """RGB uint8 [480, 640, 3] as the camera sees it; with `size_px` the square middle, [size, size, 3], for films.

        Raises:
            StationError: no such camera, or this machine has no software GL.
        """
        if size_px is None:
            return self._cameras.look(self._data, camera, self._ticks, self.traits)[0]
        return self._cameras.film(self._data, camera, size_px)

    def render_depth(self, camera: str) -> NDArray[np.float32] | None:
        """Depth float32 [480, 640] in metres along the camera's axis, of the same look as `render`."""
        return self._cameras.look(self._data, camera, self._ticks, self.traits)[1]

    def truth(self) -> dict[str, float]:
        """True state under START_KEYS, all holes and the pin in numbers, contact, and the traits of this episode."""
        self._mujoco.mj_kinematics(self._model, self._data)
        return {
            "hole": float(self._hole),
            "yaw_rad": float(self._data.actuator_length[POSE["right"]][5]),
            **self._pins.truth(self._hole),
            "peak_force_N": self._top_force_N,
            "stopped": float(self._stopped > 0),
            **self.traits,
        }
