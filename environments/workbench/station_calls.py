"""What a version's reset may do at a station: the calls that come out of the sandbox, checked and carried out."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from nightlab.contracts import ControlSession, Frame, Lease, Observation, SimulatorAdmin, Station
from nightlab.errors import NightlabError, StationError
from nightlab.records import Clock, StationSpec

WITH_LEASE = ("move_to_pose", "home", "grasp", "release", "apply_force")
WITHOUT_LEASE = ("describe", "observe", "clock", "get_joint_states", "capture")
CALLS = (*WITH_LEASE, *WITHOUT_LEASE, "control", "control_end", "step", "hold", "teleport")
MOST_CALLS = 20_000
"""Calls of one reset; more than any that works needs."""


@dataclass(slots=True)
class StationCalls:
    """A station lent to a version for resets. `admin` None: no teleport."""

    station: Station
    lease: Lease
    admin: SimulatorAdmin | None = None
    made: int = 0
    _control: AbstractAsyncContextManager[ControlSession] | None = None
    _session: ControlSession | None = field(default=None)

    async def answer(self, call: list[Any]) -> list[Any]:
        """The reply to `["call", name, [arguments, named]]`: `["ok", value]` or `["raise", class, text]`."""
        try:
            name, (arguments, named) = str(call[1]), call[2]
            self.made += 1
            if self.made > MOST_CALLS:
                raise StationError(f"a reset made more than {MOST_CALLS} calls of the station")
            return ["ok", _message(await self._do(name, list(arguments), dict(named)))]
        except NightlabError as error:
            return ["raise", type(error).__name__, str(error)]
        except (TypeError, ValueError, KeyError, IndexError, AttributeError) as error:
            return ["raise", "StationError", f"a call that the station does not know: {error}"]

    async def end(self) -> None:
        """Leave a control stream that was left open, and begin counting anew."""
        self.made = 0
        await self._leave()

    async def _do(self, name: str, arguments: list[Any], named: dict[str, Any]) -> Any:
        if name in WITH_LEASE:
            return await getattr(self.station, name)(self.lease, *arguments, **named)
        if name in WITHOUT_LEASE:
            return await getattr(self.station, name)(*arguments, **named)
        if name == "teleport":
            if self.admin is None:
                raise StationError("this reset has no SimulatorAdmin")
            await self.admin.teleport(
                {str(key): float(value) for key, value in arguments[0].items()}, int(arguments[1])
            )
            return None
        if name == "control":
            await self._leave()
            self._control = self.station.control(self.lease, "reset")
            self._session = await self._control.__aenter__()
            return None
        if name == "control_end":
            await self._leave()
            return None
        if self._session is None or name not in CALLS:
            raise StationError(f"no call {name!r} now; there are: {', '.join(CALLS)}")
        if name == "hold":
            return await self._session.hold()
        chunk = [{key: np.asarray(value, np.float64) for key, value in action.items()} for action in arguments[0]]
        return await self._session.step(chunk)

    async def _leave(self) -> None:
        control, self._control, self._session = self._control, None, None
        if control is not None:
            await control.__aexit__(None, None, None)


def _message(value: Any) -> Any:
    """A station's answer as plain data, with its kind under `_`."""
    if isinstance(value, list):
        return [_message(item) for item in value]
    if isinstance(value, StationSpec):
        return {"_": "spec", "json": value.model_dump_json()}
    if isinstance(value, Clock):
        return {"_": "clock", "wall_s": value.wall_s, "station_s": value.station_s}
    if isinstance(value, Observation):
        seen = {key: np.asarray(item).tolist() for key, item in value.values.items()}
        return {
            "_": "observation",
            "seq": value.seq,
            "values": seen,
            **value.clock.model_dump(include={"wall_s", "station_s"}),
        }
    if isinstance(value, Frame):
        out = {
            "_": "frame",
            "camera": value.camera,
            "seq": value.seq,
            "shape": list(value.rgb.shape),
            "rgb": value.rgb.tobytes(),
            **value.clock.model_dump(include={"wall_s", "station_s"}),
        }
        return out if value.depth_m is None else {**out, "depth": value.depth_m.astype(np.float32).tobytes()}
    if isinstance(value, dict):
        return {"_": "values", "values": {key: np.asarray(item).tolist() for key, item in value.items()}}
    return value
