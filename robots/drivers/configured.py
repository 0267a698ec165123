"""A driver under its `station.yaml`: kind, limits, home pose and gripper cap laid over what the driver says itself."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from math import prod

import numpy as np
from numpy.typing import NDArray

from nightlab.contracts import Values
from nightlab.errors import StationError, UsageError
from nightlab.records import CellConfig, StationSpec
from robots.driver import Driver, Primitive
from robots.drivers.forwarding import ForwardingDriver
from robots.narrow import narrowed

PATIENCE, PATIENCE_s = 3.0, 3.0
"""`home` may take this many times as long as its steps need, and this much longer."""
REACHED = 1e-6
"""How far the last target may be from home, in the channel's unit."""
SLOWEST_s = 3.0
"""Duration of `home` where the limits know no largest step."""


class ConfiguredDriver(ForwardingDriver):
    """Implements `robots.driver.Driver`.

    Raises:
        UsageError: a rate, home pose, limit or gripper that does not fit the driver.
        SafetyError: limits that leave nothing allowed.
    """

    def __init__(self, inner: Driver, cell: CellConfig) -> None:
        super().__init__(inner)
        self._cell = cell
        self._of: StationSpec | None = None
        self._spec = self.spec()
        rate_hz = self._spec.rate_hz
        if cell.rate_hz is not None and cell.rate_hz != rate_hz:
            raise UsageError(f"rate_hz: {cell.rate_hz:g}: driver {cell.driver!r} runs at {rate_hz:g} Hz here")
        self._check_home()
        self._check_grippers()

    def spec(self) -> StationSpec:
        """The driver's own, under the limits of station.yaml."""
        own = self.inner.spec()
        if own is not self._of:
            update = {"limits": narrowed(own, self._cell.limits), "station_id": self._cell.station}
            self._spec = own.model_copy(update=update | ({"kind": self._cell.kind} if self._cell.kind else {}))
            self._of = own
        return self._spec

    def primitive(self, request: Primitive) -> Iterator[Values]:
        """`home` goes to the pose of station.yaml; `grasp` is cut down to the gripper's cap."""
        if request.name == "home" and self._cell.home:
            return self._go_home()
        if request.name == "grasp":
            for cap in self._cell.limits.grippers:
                if cap.arm in ("", request.arm) and not request.force_N <= cap.max_force_N:
                    request = replace(request, force_N=cap.max_force_N)
        return self.inner.primitive(request)

    def _go_home(self) -> Iterator[Values]:
        """A straight line in the action's space, all channels arriving together. Raises StationError: not reached."""
        begin = self.inner.hold_action()
        goal = {key: self._goal(key, value) for key, value in begin.items()}
        periods = 1
        for key, value in begin.items():
            way = np.abs(goal[key] - value).ravel()
            most = self._spec.limits.max_step.get(key)
            if most is not None and way.any():
                if (way[np.asarray(most) == 0] > 0).any():
                    raise StationError(f"home: {key!r} may not move (max_step 0)")
                periods = max(periods, int(np.ceil((way / np.maximum(most, 1e-12)).max())))
            elif way.any():
                periods = max(periods, int(SLOWEST_s * self._spec.rate_hz))
        most_periods = int(periods * PATIENCE + PATIENCE_s * self._spec.rate_hz)
        for number in range(1, most_periods + 1):
            share = min(1.0, number / periods)
            yield {key: value + share * (goal[key] - value) for key, value in begin.items()}
            off = {key: np.abs(goal[key] - value).max() for key, value in self.inner.hold_action().items()}
            if number >= periods and max(off.values()) <= REACHED:
                return
        key = max(off, key=lambda key: off[key])
        raise StationError(
            f"home was not reached: after {most_periods} control periods the target of {key!r} is {off[key]:.3g} away from "
            "it; larger max_step, max_velocity or max_acceleration in station.yaml, or a nearer home"
        )

    def _goal(self, key: str, value: NDArray[np.float64]) -> NDArray[np.float64]:
        home = self._cell.home.get(key)
        return value if home is None else np.reshape(np.array(home, dtype=np.float64), value.shape)

    def _check_home(self) -> None:
        sizes = {channel.key: prod(channel.shape) for channel in self._spec.actions}
        limits = self._spec.limits
        for key, pose in self._cell.home.items():
            if key not in sizes or len(pose) != sizes[key]:
                known = ", ".join(f"{name} ({size})" for name, size in sizes.items())
                raise UsageError(f"home.{key}: {len(pose)} numbers; the station's actions: {known}")
            if not all(
                a <= x <= b for a, x, b in zip(limits.action_low[key], pose, limits.action_high[key], strict=True)
            ):
                raise UsageError(f"home.{key}: {pose} lies outside the limits")

    def _check_grippers(self) -> None:
        known = self.grippers
        for cap in self._cell.limits.grippers:
            if cap.arm and known is not None and cap.arm not in known:
                there = ", ".join(repr(name) for name in known if name) or "none with a name; leave arm out"
                raise UsageError(
                    f"limits.grippers: no arm {cap.arm!r} with a gripper at this station; there is: {there}"
                )
