"""Any environment of nightlab as a Gymnasium environment.

    import gymnasium, environments.gym
    env = gymnasium.make("nightlab/push_t-v0", profile="real")

Without an address it runs a simulated station in this process, without pacing; with `address` (and `admin_socket`) it
drives a served one, at that station's own rate. The last step of an episode carries `info["verdict"]`.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from environments import make, make_verifier, names, world
from nightlab.contracts import ControlSession, Lease, SimulatorAdmin, Station
from nightlab.errors import StationError
from nightlab.records import Channel, StationSpec

Values = dict[str, NDArray[np.float64]]


class GymEnvironment(gymnasium.Env[Values, Values]):  # type: ignore[misc]
    """Gymnasium over an `Environment` and a `Station`. Spaces are Dict of Box, one per channel of the station."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012 (Gymnasium's own name)

    def __init__(
        self,
        environment: str,
        *,
        address: str | None = None,
        admin_socket: str | None = None,
        profile: str = "nominal",
        station_seed: int = 0,
        render_mode: str | None = None,
    ) -> None:
        self.environment = make(environment)
        self.verifier = make_verifier(environment)
        self.render_mode = render_mode
        self._place = (address, admin_socket, profile, station_seed)
        self._session: ControlSession | None = None
        self._control: AbstractAsyncContextManager[ControlSession] | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=f"gym-{environment}", daemon=True)
        self._thread.start()
        self._station, self._admin, self._lease, self.station_spec = self._run(self._connect())
        self.metadata = {**type(self).metadata, "render_fps": round(self.station_spec.rate_hz)}
        self.observation_space = _space(self.station_spec.observations)
        self.action_space = _space(self.station_spec.actions)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Values, dict[str, Any]]:
        """Bring the station to the start of `seed`. Raises StationError if it cannot be brought there."""
        super().reset(seed=seed)
        start_seed = int(self.np_random.integers(2**31)) if seed is None else seed
        return self._run(self._reset(start_seed))

    def step(self, action: Mapping[str, NDArray[np.float64]]) -> tuple[Values, float, bool, bool, dict[str, Any]]:
        """Run one action for one control period."""
        return self._run(self._step(action))

    def render(self) -> NDArray[np.uint8]:
        """The station's first camera: uint8 [height, width, 3] RGB."""
        return self._run(self._station.capture(self.station_spec.cameras[0].key)).rgb

    def close(self) -> None:
        """Give the lease back."""
        if self._loop.is_closed():
            return
        self._run(self._disconnect())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _run[T](self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    async def _connect(self) -> tuple[Station, SimulatorAdmin | None, Lease, StationSpec]:
        address, admin_socket, profile, station_seed = self._place
        station: Station
        admin: SimulatorAdmin | None = None
        if address is None:
            from nightlab.testing.fake_station import FakeStation
            from robots.profiles import load_profile
            from robots.worlds import make_world

            name = world(self.environment.name)
            station = admin = FakeStation(make_world(name, load_profile(profile, name), station_seed))
        else:
            from robots.admin import AdminClient
            from robots.client import StationClient

            station = await StationClient.connect(address)
            admin = await AdminClient.connect(Path(admin_socket)) if admin_socket else None
        lease = await station.lease("gymnasium", self.environment.limits)
        return station, admin, lease, await station.describe()

    async def _disconnect(self) -> None:
        await self._end_control()
        await self._lease.release()
        for part in (self._admin, self._station):
            if part is not None and hasattr(part, "close"):
                await part.close()

    async def _end_control(self) -> None:
        if self._control is not None:
            control, self._control, self._session = self._control, None, None
            await control.__aexit__(None, None, None)

    async def _reset(self, seed: int) -> tuple[Values, dict[str, Any]]:
        await self._end_control()
        report = await self.environment.reset(self._station, self._lease, seed, admin=self._admin)
        if not report.success:
            raise StationError(f"reset to the start of seed {seed} failed: {report.reason}")
        self._control = self._station.control(self._lease, f"gymnasium-{seed}")
        self._session = await self._control.__aenter__()
        observation = await self._station.observe()
        return dict(observation.values), {"reset": report.model_dump(mode="json")}

    async def _step(
        self, action: Mapping[str, NDArray[np.float64]]
    ) -> tuple[Values, float, bool, bool, dict[str, Any]]:
        if self._session is None:
            raise StationError("step before reset; call reset(seed=...) first")
        result = await self.environment.step(self._session, action)
        info = {**result.info, "flags": result.observation.flags.model_dump(mode="json")}
        if result.terminated or result.truncated:
            evidence = await self.environment.evidence(self._station, self._session)
            verdict = await asyncio.to_thread(self.verifier.verify, evidence)
            info["verdict"] = verdict.model_dump(mode="json")
        return dict(result.observation.values), result.reward, result.terminated, result.truncated, info


def _space(channels: tuple[Channel, ...]) -> spaces.Dict:
    return spaces.Dict(
        {
            channel.key: spaces.Box(np.array(channel.low), np.array(channel.high), channel.shape, np.float64)
            for channel in channels
        }
    )


def register() -> None:
    """Register every environment as `nightlab/<name>-v0`; entry point of the group `gymnasium.envs`."""
    for name in names():
        identity = f"nightlab/{name}-v0"
        if identity not in gymnasium.registry:
            gymnasium.register(
                identity, "environments.gym:GymEnvironment", order_enforce=True, kwargs={"environment": name}
            )


register()
