"""The seam between a station server and its hardware or simulation. Rarely more than one screen to implement."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from nightlab.contracts import Values
from nightlab.errors import StationError
from nightlab.records import CameraSpec, StationSpec

PrimitiveName = Literal["move_to_pose", "home", "grasp", "release", "apply_force"]


@dataclass(frozen=True, slots=True)
class Primitive:
    """A request for one of ENPIRE's primitives."""

    name: PrimitiveName
    arm: str = ""
    pose: tuple[float, ...] = ()
    """In the station's own frame; what the numbers are stands in the driver's documentation."""
    width_m: float = 0.0
    force_N: float = 0.0
    wrench: tuple[float, ...] = ()
    """N,N,N,Nm,Nm,Nm"""
    duration_s: float = 0.0


class Driver(Protocol):
    """One robot cell. Used by the controller's thread alone, except `stop`, which any thread may call at any time."""

    def spec(self) -> StationSpec: ...
    def step(self, action: Values) -> None:
        """Command one control period; the controller paces."""
        ...

    def observe(self) -> dict[str, NDArray[np.float64]]: ...
    def hold_action(self) -> dict[str, NDArray[np.float64]]: ...
    def joint_states(self) -> dict[str, NDArray[np.float64]]: ...
    def render(self, camera: str, size_px: int | None = None) -> NDArray[np.uint8]: ...
    def render_depth(self, camera: str) -> NDArray[np.float32] | None:
        """Depth of the look that `render` gave last, float32 [height, width] metres; None: the camera has none."""
        ...

    def primitive(self, request: Primitive) -> Iterator[Values]:
        """The actions of a primitive, one per control period; each passes the safety filter. Ends when it is done.

        Raises:
            StationError: this kind of station has no such primitive, or it did not get there.
        """
        ...

    def stop(self, reason: str) -> None:
        """E-stop: take the power off motion now. Must not wait for anything; called again until it does not raise.

        Raises:
            StationError: it cannot say that the power is off.
        """
        ...

    def clear(self) -> None:
        """After an e-stop: allow motion again, from where the robot is.

        Raises:
            StationError: it cannot; the station stays stopped.
        """
        ...

    # A driver may have `close() -> None`: the server is stopping; the robot holds or rests, ports are freed.


class Camera(Protocol):
    """One camera of a cell, see `CAMERAS` in robots/drivers/__init__.py. Used by the controller's thread alone."""

    def spec(self) -> CameraSpec: ...
    def render(self, size_px: int | None = None) -> NDArray[np.uint8]:
        """The newest frame, uint8 [height, width, 3] RGB; `size_px`: scaled to a square, for films.

        Raises:
            StationError: unplugged, or no fresh frame: never a stale one.
        """
        ...

    def render_depth(self) -> NDArray[np.float32] | None:
        """Depth of the look that `render` gave last, float32 [height, width] metres; None: it has none."""
        ...

    def close(self) -> None: ...


class Simulator(Protocol):
    """What a simulated driver offers to the admin socket, beside `Driver`."""

    def teleport(self, start: Mapping[str, float], episode_seed: int) -> None: ...
    def truth(self) -> dict[str, float]: ...
    def configure(self, profile: str, station_seed: int | None) -> None: ...


def unsupported(kind: str, name: str, known: tuple[str, ...]) -> StationError:
    """The error of a primitive that a kind of station does not have."""
    return StationError(f"a {kind!r} station has no primitive {name!r}; it has: {', '.join(known)}")
