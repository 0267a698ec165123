"""The simulated station `spot_plate`: a finger that drives towards its target over a plate with a spot."""

import math
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nightlab.contracts import Values
from nightlab.errors import StationError
from nightlab.records import CameraSpec, Channel, LimitsSpec, StationSpec
from robots.driver import Primitive, unsupported
from robots.profiles import Profile, Spread
from touch_spot import spec
from touch_spot.start import START_KEYS

RATE_HZ = 10.0
SPEED_px = 16.0
"""Farthest that the finger moves in a control period."""
PLATE = (0.0, 0.0), (float(spec.PLATE_px), float(spec.PLATE_px))


class SpotPlateProfile(Profile):
    """How real the plate is."""

    spot_noise_px: Spread = Spread(value=0)
    """Standard deviation of the spot sensor, white, per control period."""
    gain_factor: Spread = Spread(value=1)
    """Factor on the finger's speed."""


PROFILE = SpotPlateProfile
PROFILES = Path(__file__).with_name("profiles")


class SpotPlate:
    """Implements `nightlab.contracts.World`."""

    def __init__(self, profile: SpotPlateProfile, station_seed: int) -> None:
        self.profile = profile
        self.station_seed = station_seed
        self._station = profile.sample_station(station_seed)
        self.teleport(dict.fromkeys(START_KEYS, spec.PLATE_px / 2), 0)

    def spec(self, station_id: str, speed: float) -> StationSpec:
        """What the station is."""
        xy = {"shape": (2,), "unit": "px,px", "low": PLATE[0], "high": PLATE[1]}
        return StationSpec(
            station_id=station_id,
            kind="spot_plate",
            rate_hz=RATE_HZ,
            speed=speed,
            simulated=True,
            profile=self.profile.name,
            observations=(Channel(key="finger_xy", **xy), Channel(key="spot_xy", **xy)),
            actions=(Channel(key="target_xy", **xy),),
            cameras=(CameraSpec(key=spec.CAMERA, width_px=spec.PLATE_px, height_px=spec.PLATE_px),),
            limits=LimitsSpec(action_low={"target_xy": PLATE[0]}, action_high={"target_xy": PLATE[1]}),
        )

    def teleport(self, start: Mapping[str, float], episode_seed: int) -> None:
        """Put finger and spot where `start` says. Raises StationError if a key is missing or not finite."""
        if set(start) != set(START_KEYS) or not all(math.isfinite(value) for value in start.values()):
            raise StationError(f"teleport to {dict(start)}: a start needs finite numbers for {', '.join(START_KEYS)}")
        self._rng = np.random.default_rng([abs(int(self.station_seed)), abs(int(episode_seed))])
        self.traits = self._station.episode(self._rng)
        self._finger = np.array([start["finger_x_px"], start["finger_y_px"]])
        self._spot = np.array([start["spot_x_px"], start["spot_y_px"]])
        self._target = self._finger.copy()
        self._sense()

    def _sense(self) -> None:
        noise = self._rng.normal(0.0, 1.0, 2) * self.traits["spot_noise_px"]
        self._seen = {"finger_xy": self._finger.copy(), "spot_xy": np.clip(self._spot + noise, *PLATE)}

    def step(self, action: Values) -> None:
        """One control period: towards the target, at most SPEED_px."""
        self._target = np.array(action["target_xy"], dtype=np.float64)
        way = self._target - self._finger
        far_px = float(np.hypot(*way))
        reach_px = SPEED_px * self.traits["gain_factor"]
        self._finger = self._target.copy() if far_px <= reach_px else self._finger + way * (reach_px / far_px)
        self._sense()

    def observe(self) -> dict[str, NDArray[np.float64]]:
        """What the sensors say at this tick."""
        return {key: value.copy() for key, value in self._seen.items()}

    def hold_action(self) -> dict[str, NDArray[np.float64]]:
        """The latest target."""
        return {"target_xy": self._target.copy()}

    def render(self, camera: str, size_px: int | None = None) -> NDArray[np.uint8]:
        """uint8 [size, size, 3] RGB."""
        import cv2

        if camera != spec.CAMERA:
            raise StationError(f"no camera {camera!r} at this station; there is: {spec.CAMERA}")
        picture = np.full((spec.PLATE_px, spec.PLATE_px, 3), spec.PLATE_RGB, np.uint8)
        ring = (
            (self._spot, spec.SPOT_RADIUS_px, spec.SPOT_RGB, 3),
            (self._finger, spec.FINGER_RADIUS_px, spec.FINGER_RGB, -1),
        )
        for (x, y), radius, rgb, thickness in ring:
            cv2.circle(picture, (round(x), round(y)), radius, rgb, thickness)
        return picture if size_px is None else np.asarray(cv2.resize(picture, (size_px, size_px)), np.uint8)

    def truth(self) -> dict[str, float]:
        """The true state under START_KEYS, and the episode's traits."""
        return {**dict(zip(START_KEYS, (*self._finger, *self._spot), strict=True)), **self.traits}

    def primitive(self, request: Primitive) -> Iterator[Values]:
        """`move_to_pose` and `home`: the actions that drive there."""
        if request.name not in ("move_to_pose", "home"):
            raise unsupported("spot_plate", request.name, ("move_to_pose", "home"))
        goal = np.array(request.pose if request.name == "move_to_pose" else (spec.PLATE_px / 2, spec.PLATE_px / 2))
        for _ in range(spec.MAX_STEPS):
            if float(np.hypot(*(self._finger - goal))) < 0.5:
                return
            yield {"target_xy": goal}


def make_world(profile: SpotPlateProfile, station_seed: int) -> SpotPlate:
    """A fresh plate."""
    return SpotPlate(profile, station_seed)
