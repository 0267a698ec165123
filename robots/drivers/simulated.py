"""Driver `simulated`: a World behind a station server, with the primitives of its kind."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, ValidationError

from nightlab.contracts import Values, World
from nightlab.errors import StationError, UsageError
from nightlab.records import CellConfig, StationSpec
from nightlab.records.base import Record
from robots.cell_config import why
from robots.driver import Primitive, unsupported
from robots.drivers.push_t import push_t_primitive
from robots.drivers.yam_bimanual import ARM, yam_primitive

WorldFactory = Callable[[str, int], World]
"""(profile, station_seed) → a fresh world."""

PRIMITIVES: Mapping[str, Callable[[World, Primitive], Iterator[Values]]] = {
    "push_t": push_t_primitive,
    "yam_bimanual": yam_primitive,
}
GRIPPERS: Mapping[str, tuple[str, ...]] = {"push_t": (), "yam_bimanual": tuple(ARM)}
"""Arms with a gripper, by kind of station."""
JOINT_KEYS = ("agent", "joint", "q_", "left_q", "right_q")
"""How the keys of joint positions and speeds begin."""


class SimulatedConfig(Record):
    """The `config` section of `station.yaml` for driver `simulated`."""

    world: str = "push_t"
    profile: str = "nominal"
    speed: float = Field(default=1.0, ge=0, le=1000)
    """Station seconds per wall second; 0 = max."""
    station_seed: int = 0


def make(config: Mapping[str, Any], cell: CellConfig) -> SimulatedDriver:
    """The driver of `station.yaml`.

    Raises:
        UsageError: unknown world, profile or setting.
    """
    from robots.profiles import load_profile
    from robots.worlds import make_world

    try:
        asked = SimulatedConfig.model_validate(config)
    except ValidationError as error:
        raise UsageError(f"driver 'simulated' of {cell.station}: {why(error)}") from error
    return SimulatedDriver(
        lambda profile, seed: make_world(asked.world, load_profile(profile, asked.world), seed),
        cell.station, asked.profile, asked.station_seed, asked.speed,
    )  # fmt: skip


class SimulatedDriver:
    """Implements `robots.driver.Driver` and `Simulator` over a world.

    Args:
        make: builds the world; called again by `configure`.
        station_id: e.g. `robot-1`.
        profile: profile name or path.
        station_seed: samples the station.
        speed: station seconds per wall second; 0 = max.
    """

    def __init__(self, make: WorldFactory, station_id: str, profile: str, station_seed: int, speed: float) -> None:
        self._make = make
        self._station_id = station_id
        self._speed = speed
        self.station_seed = station_seed
        self.world = make(profile, station_seed)
        self._spec = self.world.spec(station_id, speed)

    def spec(self) -> StationSpec:
        return self._spec

    @property
    def grippers(self) -> tuple[str, ...] | None:
        """Arms that have a gripper; None: not known of this kind of station."""
        return GRIPPERS.get(self._spec.kind)

    def step(self, action: Values) -> None:
        self.world.step(action)

    def observe(self) -> dict[str, NDArray[np.float64]]:
        return self.world.observe()

    def hold_action(self) -> dict[str, NDArray[np.float64]]:
        return self.world.hold_action()

    def joint_states(self) -> dict[str, NDArray[np.float64]]:
        """Push-T: the pusher's two axes, `agent_xy` (2,) px. A bench: `left_q`, `left_qd` (6,) rad, rad/s, and right."""
        return {key: value for key, value in self.world.observe().items() if key.startswith(JOINT_KEYS)}

    def render(self, camera: str, size_px: int | None = None) -> NDArray[np.uint8]:
        """Raises StationError for an unknown camera, naming those there are."""
        known = [spec.key for spec in self._spec.cameras]
        if camera not in known:
            raise StationError(f"no camera {camera!r} at this station; there is: {', '.join(known) or 'none'}")
        return self.world.render(camera, size_px)

    def render_depth(self, camera: str) -> NDArray[np.float32] | None:
        """Depth of the same look; None where the world has no `render_depth`."""
        look: Callable[[str], NDArray[np.float32] | None] | None = getattr(self.world, "render_depth", None)
        return None if look is None else look(camera)

    def primitive(self, request: Primitive) -> Iterator[Values]:
        runner = PRIMITIVES.get(self._spec.kind)
        if runner is not None:
            return runner(self.world, request)
        own: Callable[[Primitive], Iterator[Values]] | None = getattr(self.world, "primitive", None)
        if own is None:
            raise unsupported(self._spec.kind, request.name, ("none",))
        return own(request)

    def stop(self, reason: str) -> None:
        """Nothing to cut: a world moves only when it is stepped."""

    def clear(self) -> None:
        """Nothing to restore."""

    def teleport(self, start: Mapping[str, float], episode_seed: int) -> None:
        self.world.teleport(start, episode_seed)

    def truth(self) -> dict[str, float]:
        return self.world.truth()

    def configure(self, profile: str, station_seed: int | None) -> None:
        """Sample the station anew; None: with the seed that it was started with."""
        self.world = self._make(profile, self.station_seed if station_seed is None else station_seed)
        self._spec = self.world.spec(self._station_id, self._speed)
