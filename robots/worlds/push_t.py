"""Push-T on pymunk: a disc with a PD controller pushes a T over a table. Physics as in gym-pusht (Apache-2.0).

Per control period (0.1 s) ten physics steps of 10 ms: a = k_p (target − x) − k_v v with k_p = 100 · gain factor and
k_v = 20; the disc is kinematic, the table stops the T at once when it is not pushed (space damping 0). What a profile
adds: latency and jitter of actions, noise and delay of observations, friction, another centre of gravity.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from typing import Final

import numpy as np
import pymunk
from numpy.typing import NDArray

from nightlab import geometry as g
from nightlab.contracts import Values
from nightlab.errors import StationError
from nightlab.records import CameraSpec, Channel, LimitsSpec, StationSpec
from robots.profiles import PushTProfile
from robots.worlds.push_t_camera import render_table

RATE_HZ: Final = 10.0
MAX_STEP_PX: Final = 80.0
DT_S: Final = 0.01
SUBSTEPS: Final = 10
K_P: Final = 100.0
K_V: Final = 20.0
START_KEYS: Final = ("agent_x_px", "agent_y_px", "block_x_px", "block_y_px", "block_angle_rad")
"""Keys of a start as `teleport` takes it; `truth` gives the same keys back, with `coverage` and the traits."""
HOME_XY: Final = (256.0, 400.0)
START: Final = dict(zip(START_KEYS, (*HOME_XY, 256.0, 300.0, 0.0), strict=True))


class PushTWorld:
    """One simulated table, sampled from a profile by `station_seed`. Implements `nightlab.contracts.World`."""

    def __init__(self, profile: PushTProfile, station_seed: int) -> None:
        self.profile = profile
        self.station_seed = station_seed
        self._station = profile.sample_station(station_seed)
        self.teleport(START, episode_seed=0)

    def spec(self, station_id: str, speed: float) -> StationSpec:
        table = (0.0, 0.0), (g.TABLE_PX, g.TABLE_PX)
        return StationSpec(
            station_id=station_id,
            kind="push_t",
            rate_hz=RATE_HZ,
            speed=speed,
            simulated=True,
            profile=self.profile.name,
            observations=(
                Channel(key="agent_xy", shape=(2,), unit="px,px", low=table[0], high=table[1],
                        description="position of the pusher's centre"),
                Channel(key="block_pose", shape=(3,), unit="px,px,rad", low=(0.0, 0.0, -math.pi),
                        high=(g.TABLE_PX, g.TABLE_PX, math.pi), description="pose sensor of the T's body frame"),
            ),
            actions=(
                Channel(key="target_xy", shape=(2,), unit="px,px", low=table[0], high=table[1],
                        description="target of the pusher's PD controller"),
            ),
            cameras=(CameraSpec(key="top", width_px=512, height_px=512, description="1 px = 1 px of the table"),),
            limits=LimitsSpec(
                action_low={"target_xy": table[0]},
                action_high={"target_xy": table[1]},
                max_step={"target_xy": (MAX_STEP_PX, MAX_STEP_PX)},
            ),
        )  # fmt: skip

    def teleport(self, start: Mapping[str, float], episode_seed: int) -> None:
        """Put pusher and T where `start` says (keys START_KEYS), at rest, and draw the episode's traits.

        Raises:
            StationError: a key is missing or unknown, or a number is not finite.
        """
        if set(start) != set(START_KEYS) or not all(math.isfinite(value) for value in start.values()):
            raise StationError(f"teleport to {dict(start)}: a start needs finite numbers for {', '.join(START_KEYS)}")
        self._rng = np.random.default_rng([0xE215, abs(int(self.station_seed)), abs(int(episode_seed))])
        self.traits = self._station.episode(self._rng)
        self._build(start)
        here = (start["agent_x_px"], start["agent_y_px"])
        self._target = here
        self._actions: deque[tuple[float, float]] = deque([here] * int(self.traits["action_latency_steps"]))
        first = self._sense()
        delay = int(self.traits["observation_delay_steps"])
        self._seen = deque([first] * (delay + 1), maxlen=delay + 1)

    def _build(self, start: Mapping[str, float]) -> None:
        space = pymunk.Space()
        space.gravity = 0, 0
        space.damping = 0.0
        corners = ((5, 506), (5, 5)), ((5, 5), (506, 5)), ((506, 5), (506, 506)), ((5, 506), (506, 506))
        walls = [pymunk.Segment(space.static_body, a, b, 2) for a, b in corners]
        agent = pymunk.Body(body_type=pymunk.Body.KINEMATIC)
        agent.position = start["agent_x_px"], start["agent_y_px"]
        disc = pymunk.Circle(agent, g.AGENT_RADIUS_PX)
        block = pymunk.Body(g.T_MASS, g.T_INERTIA)
        bar, stem = (
            pymunk.Poly(block, [(x0, y0), (x1, y0), (x1, y1), (x0, y1)])
            for x0, x1, y0, y1 in (g.BAR_LOCAL, g.STEM_LOCAL)
        )
        block.center_of_gravity = self.traits["block_cog_x_px"], self.traits["block_cog_y_px"]
        block.angle = start["block_angle_rad"]  # first the angle: it turns about the centre of gravity
        block.position = start["block_x_px"], start["block_y_px"]
        for shape in (*walls, disc, bar, stem):
            shape.friction = self.traits["friction"]
        space.add(*walls, agent, disc, block, bar, stem)
        self._space, self._agent, self._block = space, agent, block

    def step(self, action: Values) -> None:
        """Run one control period towards `target_xy`, after the station's latency and jitter."""
        x, y = (float(value) for value in action["target_xy"])
        self._target = (x, y)
        self._actions.append(self._target)
        tx, ty = self._actions.popleft()
        jitter = self.traits["action_jitter_px"]
        if jitter > 0:
            dx, dy = self._rng.normal(0.0, jitter, 2)
            tx, ty = tx + dx, ty + dy
        agent, space, k_p = self._agent, self._space, K_P * self.traits["gain_factor"]
        px, py = agent.position
        vx, vy = agent.velocity
        for _ in range(SUBSTEPS):
            vx += (k_p * (tx - px) - K_V * vx) * DT_S
            vy += (k_p * (ty - py) - K_V * vy) * DT_S
            agent.velocity = vx, vy
            space.step(DT_S)
            px, py = agent.position
        self._seen.append(self._sense())

    def _sense(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        pose = np.array([*self._block.position, self._block.angle])
        noise_px, noise_rad = self.traits["pose_noise_px"], self.traits["pose_noise_rad"]
        if noise_px > 0 or noise_rad > 0:
            pose += self._rng.normal(0.0, 1.0, 3) * (noise_px, noise_px, noise_rad)
        pose[2] = g.wrap_angle(pose[2])
        return np.array(self._agent.position, dtype=np.float64), pose

    def observe(self) -> dict[str, NDArray[np.float64]]:
        """What the sensors say at this tick; asking twice gives the same."""
        agent_xy, pose = self._seen[0]
        return {"agent_xy": agent_xy.copy(), "block_pose": pose.copy()}

    def hold_action(self) -> dict[str, NDArray[np.float64]]:
        """The latest target; the pusher's own position right after a teleport."""
        return {"target_xy": np.array(self._target)}

    def render(self, camera: str, size_px: int | None = None) -> NDArray[np.uint8]:
        """The true scene, without noise or delay: uint8 [size, size, 3] RGB, 512 px unless told otherwise.

        Raises:
            StationError: no such camera.
        """
        if camera != "top":
            raise StationError(f"no camera {camera!r} at this station; there is: top")
        pose = (*self._block.position, self._block.angle)
        return render_table(self._agent.position, pose, 512 if size_px is None else size_px)

    def truth(self) -> dict[str, float]:
        """True state under START_KEYS, `coverage`, and the traits of this episode."""
        (ax, ay), (bx, by), angle = self._agent.position, self._block.position, g.wrap_angle(self._block.angle)
        state = dict(zip(START_KEYS, (ax, ay, bx, by, angle), strict=True))
        return {**state, "coverage": g.coverage((bx, by, angle)), **self.traits}
