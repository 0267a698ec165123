"""A nightlab station as a `lerobot.robots.Robot`."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from lerobot.robots.robot import Robot

from lerobot_robot_nightlab.config_nightlab import NightlabConfig
from lerobot_robot_nightlab.features import features, to_lerobot, to_station
from lerobot_robot_nightlab.pump import Pump, describe
from nightlab.errors import StationError
from nightlab.records import StationSpec


class Nightlab(Robot):  # type: ignore[misc]
    """Connecting takes the station's lease; disconnecting gives it back, and the robot holds."""

    config_class = NightlabConfig
    name = "nightlab"

    def __init__(self, config: NightlabConfig) -> None:
        super().__init__(config)
        self.config = config
        self._pump: Pump | None = None

    @cached_property
    def spec(self) -> StationSpec:
        """What the station is. Raises StationError if nobody answers at its address."""
        return describe(self.config.address, self.config.keys)

    @cached_property
    def cameras(self) -> dict[str, Any]:
        """The station's cameras that are part of the observation; LeRobot's tools count them."""
        return {camera.key: camera for camera in self.spec.cameras} if self.config.images else {}

    @cached_property
    def observation_features(self) -> dict[str, Any]:
        """Numbers, and a picture per camera."""
        numbers: dict[str, Any] = {part.name: float for part in self._seen}
        numbers.update({key: (camera.height_px, camera.width_px, 3) for key, camera in self.cameras.items()})
        return numbers

    @cached_property
    def action_features(self) -> dict[str, Any]:
        """Numbers."""
        return {part.name: float for part in self._acts}

    @cached_property
    def _seen(self) -> Any:
        return features(self.spec.observations)

    @cached_property
    def _acts(self) -> Any:
        return features(self.spec.actions)

    @property
    def is_connected(self) -> bool:
        """Whether it holds the lease and the control stream is open."""
        return self._pump is not None and self._pump.alive

    @property
    def is_calibrated(self) -> bool:
        """A station is calibrated where it stands."""
        return True

    def connect(self, calibrate: bool = True) -> None:
        """Take the lease and open the control stream. Raises NightlabError."""
        if self.is_connected:
            raise StationError(f"{self} is connected already")
        self._pump = Pump(self.config.address, self.config.keys, self.config.holder, self.config.wait_s)

    def calibrate(self) -> None:
        """Nothing: a station is calibrated where it stands."""

    def configure(self) -> None:
        """Nothing: a station is configured where it stands."""

    def get_observation(self) -> dict[str, Any]:
        """The latest control tick, and the newest pictures."""
        pump = self._connected()
        out: dict[str, Any] = to_lerobot(self._seen, pump.latest().values)
        out.update({key: pump.picture(key) for key in self.cameras})
        return out

    def send_action(self, action: dict[str, Any]) -> dict[str, Any]:
        """Run it for one control period; what the station executed, after its safety filter."""
        seen = self._connected().send(to_station(self._acts, self.spec.actions, action))
        return to_lerobot(self._acts, seen.executed)

    def disconnect(self) -> None:
        """Give the lease back."""
        pump, self._pump = self._connected(), None
        pump.close()

    def _connected(self) -> Pump:
        if self._pump is None:
            raise StationError(f"{self} is not connected; call connect() first")
        return self._pump
