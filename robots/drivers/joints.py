"""Joints as a LeRobot robot knows them, and as a station's channels give them: names, units, limits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nightlab.contracts import Values
from nightlab.errors import SafetyError
from nightlab.records import Channel, LimitsSpec

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Joints:
    """One action channel, the observation channel that measures it, and LeRobot's keys behind both.

    A station's value is `offset + scale * LeRobot's`; all arrays have one number per joint, in the station's unit.
    """

    action: str
    observation: str
    keys: tuple[str, ...]
    """LeRobot's features, e.g. `shoulder_pan.pos`."""
    unit: str
    """Of each joint."""
    scale: Floats
    offset: Floats
    low: Floats
    high: Floats
    max_step: Floats
    """Largest change of the target in one control period."""
    text: str = ""

    def read(self, seen: Mapping[str, float]) -> Floats:
        """The channel's value of a LeRobot observation."""
        out: Floats = self.offset + self.scale * np.array([float(seen[key]) for key in self.keys])
        return out

    def write(self, value: Floats) -> dict[str, float]:
        """LeRobot's action of a channel's value."""
        return dict(zip(self.keys, ((value - self.offset) / self.scale).tolist(), strict=True))

    def check(self, value: Floats, present: Floats | None = None) -> None:
        """The driver's own last look, behind the station's safety filter.

        Args:
            value: Target to check.
            present: Present target; where it lies outside the limits, `value` may too, but not farther outside.

        Raises:
            SafetyError: not finite, of the wrong shape, or outside.
        """
        if value.shape != self.low.shape or not np.isfinite(value).all():
            raise SafetyError(f"{self.action} = {value.tolist()}: {len(self.keys)} finite numbers are needed; held")
        slack = 1e-9 + 1e-6 * (self.high - self.low)
        low = self.low if present is None else np.minimum(self.low, present)
        high = self.high if present is None else np.maximum(self.high, present)
        beyond = (value < low - slack) | (value > high + slack)
        if beyond.any():
            at = int(np.argmax(beyond))
            raise SafetyError(
                f"{self.action}, {self.keys[at]} = {value[at]:.3f} {self.unit} is outside {self.low[at]:.3f} to "
                f"{self.high[at]:.3f}; the robot held"
            )

    def channels(self) -> tuple[Channel, Channel]:
        """(observation, action). A joint may be measured a tenth of its range beyond its limits."""
        unit, size, names = ",".join([self.unit] * len(self.keys)), (len(self.keys),), ", ".join(self.keys)
        beyond = (self.high - self.low) / 10
        return (
            Channel(
                key=self.observation, shape=size, unit=unit, low=tuple((self.low - beyond).tolist()),
                high=tuple((self.high + beyond).tolist()), description=f"{self.text}: {names}", names=self.keys,
            ),
            Channel(
                key=self.action, shape=size, unit=unit, low=tuple(self.low.tolist()), high=tuple(self.high.tolist()),
                description=f"target; {self.text}: {names}", names=self.keys,
            ),
        )  # fmt: skip


def limits_of(joints: Sequence[Joints]) -> LimitsSpec:
    """The limits of a robot, always complete: bounds and step of every action."""
    return LimitsSpec(
        action_low={group.action: tuple(group.low.tolist()) for group in joints},
        action_high={group.action: tuple(group.high.tolist()) for group in joints},
        max_step={group.action: tuple(group.max_step.tolist()) for group in joints},
    )


def flat(joints: Sequence[Joints], action: Values, present: Values) -> dict[str, float]:
    """LeRobot's action of a station's, checked against the limits and the present target. Raises SafetyError."""
    out: dict[str, float] = {}
    for group in joints:
        value = np.asarray(action[group.action], dtype=np.float64)
        group.check(value, present[group.action])
        out.update(group.write(value))
    return out
