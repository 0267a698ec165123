"""The safety monitor: what the sensors say, against the limits of `station.yaml`, after every control period. Pure.

| measured | consequence |
|---|---|
| a joint beyond its hard limit, or a joint that is not a number | power cut, e-stop latched |
| a joint beyond its soft limit that no command sets directly | only `home` moves it |
| velocity, torque, force, moment, grip above the limit; a tool outside its workspace | protective stop: hold, end the stream |
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from nightlab.contracts import Values
from nightlab.errors import UsageError
from nightlab.records import SafetyConfig

OVERSHOOT: Final = 1.5
"""Measured over commanded velocity that is still no protective stop: servos overshoot, differences are noisy."""


@dataclass(frozen=True, slots=True)
class Breach:
    """A limit that was passed."""

    reason: str
    cut: bool
    """Cut the power and latch; else: protective stop."""


class Monitor:
    """Compares joints and observations with a SafetyConfig.

    Args:
        config: `limits` of station.yaml.
        rate_hz: control rate; velocities are differences over one period.
        joints: a sample of `joint_states()`.
        observation: a sample of `observe()`.

    Raises:
        UsageError: a channel that the station does not measure, or of another size.
    """

    def __init__(self, config: SafetyConfig, rate_hz: float, joints: Values, observation: Values) -> None:
        self._config = config
        self._rate_hz = rate_hz
        self._before: tuple[int, Values] | None = None
        self.beyond_soft = ""
        """Which joint stands beyond its soft limit where no command sets it directly; empty: none."""
        self._check_channels(joints, observation)

    @property
    def idle(self) -> bool:
        """Whether there is nothing to compare."""
        config = self._config
        return not (
            config.joints or config.workspace or config.max_torque_Nm or config.max_force_N or config.max_moment_Nm
        ) and not any(gripper.channel for gripper in config.grippers)

    def look(self, joints: Values, observation: Values, period: int) -> Breach | None:
        """What was passed in this control period; the worst first.

        Args:
            joints: `joint_states()`.
            observation: `observe()`.
            period: number of the control period; velocities need two that follow each other.
        """
        found = self._positions(joints)
        if found is None:
            found = self._velocities(joints, period) or self._loads({**observation, **joints}) or self._box(observation)
        self._before = (period, joints)
        return found

    def _positions(self, joints: Values) -> Breach | None:
        self.beyond_soft = ""
        for key, limits in self._config.joints.items():
            here = np.ravel(joints[key])
            if not np.isfinite(here).all():
                return Breach(f"joint sensor {key!r} gives no number: {_shown(here)}", cut=True)
            hard = (here < limits.hard_low) | (here > limits.hard_high)
            if hard.any():
                return Breach(_joint(key, hard, here, limits.hard_low, limits.hard_high, "hard"), cut=True)
            soft = (here < limits.soft_low) | (here > limits.soft_high)
            if soft.any() and not limits.command:
                self.beyond_soft = _joint(key, soft, here, limits.soft_low, limits.soft_high, "soft")
        return None

    def _velocities(self, joints: Values, period: int) -> Breach | None:
        if self._before is None or self._before[0] != period - 1:
            return None
        for key, limits in self._config.joints.items():
            if not limits.max_velocity:
                continue
            speed = np.abs(np.ravel(joints[key]) - np.ravel(self._before[1][key])) * self._rate_hz
            fast = speed > np.multiply(limits.max_velocity, OVERSHOOT)
            if fast.any():
                at = int(np.argmax(fast))
                return Breach(
                    f"joint {at} of {key!r} moved at {speed[at]:.3g}/s, allowed {limits.max_velocity[at]:g}/s",
                    cut=False,
                )
        return None

    def _loads(self, seen: Mapping[str, NDArray[np.float64]]) -> Breach | None:
        config = self._config
        for key, most in config.max_torque_Nm.items():
            torque = np.abs(np.ravel(seen[key]))
            high = ~(torque <= np.asarray(most))
            if high.any():
                at = int(np.argmax(high))
                return Breach(
                    f"torque of joint {at} in {key!r} is {torque[at]:.3g} Nm, allowed {most[at]:g}", cut=False
                )
        for what, norms, part in (
            ("force", config.max_force_N, slice(0, 3)),
            ("moment", config.max_moment_Nm, slice(-3, None)),
        ):
            for key, limit in norms.items():
                size = float(np.linalg.norm(np.ravel(seen[key])[part]))
                if not size <= limit:
                    unit = "N" if what == "force" else "Nm"
                    return Breach(f"{what} at {key!r} is {size:.3g} {unit}, allowed {limit:g}", cut=False)
        for gripper in config.grippers:
            if gripper.channel:
                grip = abs(float(np.ravel(seen[gripper.channel])[gripper.element]))
                if not grip <= gripper.max_force_N * OVERSHOOT:
                    return Breach(
                        f"grip at {gripper.channel!r} is {grip:.3g} N, cap {gripper.max_force_N:g}", cut=False
                    )
        return None

    def _box(self, observation: Values) -> Breach | None:
        for key, box in self._config.workspace.items():
            point = np.ravel(observation[key])[:3]
            if not ((point >= box.low_m) & (point <= box.high_m)).all():
                return Breach(f"{key!r} is at {_shown(point)} m, outside {box.low_m} to {box.high_m}", cut=False)
        return None

    def _check_channels(self, joints: Values, observation: Values) -> None:
        config, both = self._config, {**observation, **joints}
        for key, limits in config.joints.items():
            _has("joints", key, joints, len(limits.hard_low), exact=True)
        for key, torque in config.max_torque_Nm.items():
            _has("max_torque_Nm", key, both, len(torque), exact=True)
        for section, keys in (
            ("max_force_N", config.max_force_N), ("max_moment_Nm", config.max_moment_Nm), ("workspace", config.workspace),
        ):  # fmt: skip
            for key in keys:
                _has(section, key, observation, 3, exact=False)
        for gripper in config.grippers:
            if gripper.channel:
                _has("grippers", gripper.channel, both, gripper.element + 1, exact=False)


def _has(section: str, key: str, channels: Values, size: int, *, exact: bool) -> None:
    if key not in channels:
        raise UsageError(
            f"limits.{section}: the station does not measure {key!r}; it has: {', '.join(sorted(channels)) or 'nothing'}"
        )
    real = int(np.size(channels[key]))
    if (real != size) if exact else (real < size):
        raise UsageError(f"limits.{section}: {key!r} has {real} numbers, {size} are needed")


def _joint(
    key: str,
    beyond: NDArray[np.bool_],
    here: NDArray[np.float64],
    low: tuple[float, ...],
    high: tuple[float, ...],
    which: str,
) -> str:
    at = int(np.argmax(beyond))
    return f"joint {at} of {key!r} is at {here[at]:.4g}, beyond its {which} limit ({low[at]:g} to {high[at]:g})"


def _shown(values: NDArray[np.float64]) -> str:
    return "(" + ", ".join(f"{value:.3g}" for value in values) + ")"
