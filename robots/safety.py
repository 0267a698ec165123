"""The safety filter: what stands between an action and the robot. Pure; fail-closed.

An action that is not finite, of the wrong shape or out of bounds is refused: SafetyError, the robot holds. One that
moves too far in a single control period, or could not stop at its target with the acceleration that is allowed, is
shortened and flagged. Any exception in here holds the robot.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from nightlab.contracts import Values
from nightlab.errors import SafetyError
from nightlab.records import Channel, LimitsSpec

_NO_CHANGE: Mapping[str, tuple[float, ...]] = {}
MAX_CHUNK = 64
"""Most actions in one message; a longer plan is a robot that nobody watches."""
ROUNDING = 1e-12
"""So close to its target a step ends on it."""


def intersect(station: LimitsSpec, asked: LimitsSpec, actions: Sequence[Channel]) -> LimitsSpec:
    """The narrower of both limits, per element. Whoever asks may narrow, never widen.

    Raises:
        SafetyError: an action channel has no limits ("no limits, no lease"), one of the wrong length, one that is not
            finite, or nothing is allowed any more.
    """
    low: dict[str, tuple[float, ...]] = {}
    high: dict[str, tuple[float, ...]] = {}
    step: dict[str, tuple[float, ...]] = {}
    for channel in actions:
        key, size = channel.key, int(np.prod(channel.shape))
        for limits, whose in ((station, "the station"), (asked, "the environment")):
            for name, bounds in (("low", limits.action_low), ("high", limits.action_high)):
                _check_bounds(key, size, name, bounds, whose)
        low[key] = tuple(map(max, station.action_low[key], asked.action_low[key]))
        high[key] = tuple(map(min, station.action_high[key], asked.action_high[key]))
        if any(a > b for a, b in zip(low[key], high[key], strict=True)):
            raise SafetyError(f"limits of action {key!r} leave nothing allowed: low {low[key]}, high {high[key]}")
        steps = [limits.max_step[key] for limits in (station, asked) if key in limits.max_step]
        for values in steps:
            if len(values) != size or not all(value >= 0 for value in values):
                raise SafetyError(f"max_step of action {key!r} needs {size} numbers >= 0, got {values}")
        if steps:
            step[key] = tuple(min(values) for values in zip(*steps, strict=True))
    unknown = (set(asked.action_low) | set(asked.action_high) | set(asked.max_step)) - set(low)
    if unknown:
        raise SafetyError(f"limits for unknown actions {sorted(unknown)}; the station has: {', '.join(sorted(low))}")
    return LimitsSpec(
        action_low=low,
        action_high=high,
        max_step=step,
        late_periods=max(1, min(station.late_periods, asked.late_periods)),
        max_force_N=_least(station.max_force_N, asked.max_force_N),
        max_torque_Nm=_least(station.max_torque_Nm, asked.max_torque_Nm),
    )


def _check_bounds(key: str, size: int, name: str, bounds: Mapping[str, tuple[float, ...]], whose: str) -> None:
    if key not in bounds:
        raise SafetyError(f"no limits, no lease: {whose} gives no {name} limit for action {key!r}")
    if len(bounds[key]) != size or not np.isfinite(bounds[key]).all():
        raise SafetyError(f"{name} limit of action {key!r} from {whose} needs {size} finite numbers, got {bounds[key]}")


def _least(a: float | None, b: float | None) -> float | None:
    return min(a, b) if a is not None and b is not None else (a if b is None else b)


def _stoppable(distance: NDArray[np.float64], room: NDArray[np.float64]) -> NDArray[np.float64]:
    """The longest step towards a target at `distance` from which a robot still comes to rest there.

    Steps s, s - room, s - 2 room, … down to nothing sum up to (m + 1) s - room m (m + 1) / 2, m = floor(s / room).
    """
    m = np.floor((np.sqrt(1 + 8 * distance / room) - 1) / 2)
    longest: NDArray[np.float64] = distance / (m + 1) + room * m / 2
    return longest


class SafetyFilter:
    """Checks chunks against limits and remembers the target that ran last.

    Args:
        limits: from `intersect`.
        actions: the station's action channels.
        previous: the target before the first action; steps are measured from it.
        max_change: largest change of the step from one period to the next, by channel: the acceleration.
    """

    def __init__(
        self,
        limits: LimitsSpec,
        actions: Sequence[Channel],
        previous: Values,
        max_change: Mapping[str, tuple[float, ...]] = _NO_CHANGE,
    ) -> None:
        self.limits = limits
        self._changes = dict(max_change)
        self._moves: dict[str, NDArray[np.float64]] = {}
        """The last step of the channels in `max_change`."""
        self._shapes = {channel.key: channel.shape for channel in actions}
        self._units = {channel.key: channel.unit for channel in actions}
        self._bounds = {
            key: tuple(zip(limits.action_low[key], limits.action_high[key], strict=True)) for key in self._shapes
        }
        self._steps = dict(limits.max_step)
        self._previous: dict[str, list[float]] = {}
        self.previous: Values = {}
        """The target that ran last."""
        self.ran(previous)

    def ran(self, action: Values) -> None:
        """Remember the target that really ran (also a held one)."""
        for key in self._changes:
            self._moves[key] = action[key] - self.previous[key] if self.previous else np.zeros_like(action[key])
        self.previous = action
        self._previous = {key: action[key].ravel().tolist() for key in self._steps}

    def check(self, chunk: Sequence[Values]) -> None:
        """Check a whole chunk before any of it runs.

        Raises:
            SafetyError: empty or longer than 64; keys, shape, finiteness or bounds broken. Names action and value.
        """
        if not 1 <= len(chunk) <= MAX_CHUNK:
            raise SafetyError(f"a chunk holds 1 to {MAX_CHUNK} actions, got {len(chunk)}; the robot held")
        for index, action in enumerate(chunk):
            self._check(index, action, self._bounds)

    def check_inward(self, action: Values) -> None:
        """As `check`, for one action of a robot that may stand outside its bounds: not farther outside than it stands.

        Raises:
            SafetyError: as `check`.
        """
        bounds = {}
        for key, here in self.previous.items():
            pairs = zip(here.ravel().tolist(), self._bounds[key], strict=True)
            bounds[key] = [(min(low, x), max(high, x)) for x, (low, high) in pairs]
        self._check(0, action, bounds)

    def _check(self, index: int, action: Values, bounds: Mapping[str, Sequence[tuple[float, float]]]) -> None:
        if action.keys() != self._shapes.keys():
            raise SafetyError(
                f"action {index} has keys {sorted(action)}, the station has: {', '.join(sorted(self._shapes))}; "
                "the robot held"
            )
        for key, shape in self._shapes.items():
            value = action[key]
            if value.shape != shape:
                raise SafetyError(f"action {index} {key!r} has shape {value.shape}, expected {shape}; the robot held")
            if not all(low <= x <= high for x, (low, high) in zip(value.ravel().tolist(), bounds[key], strict=True)):
                raise SafetyError(self._explain(index, key, value))

    def clamp(self, action: Values) -> tuple[dict[str, NDArray[np.float64]], bool]:
        """The action with its step from the previous target cut to `max_step` and `max_change`, and whether it was."""
        out, clamped = dict(action), False
        for key, most in self._steps.items():
            value, previous = action[key], self._previous[key]
            flat = value.ravel().tolist()
            if any(abs(x - x0) > step for x, x0, step in zip(flat, previous, most, strict=True)):
                moves = zip(flat, previous, most, strict=True)
                cut = [x0 + max(-step, min(step, x - x0)) for x, x0, step in moves]
                out[key] = np.array(cut, dtype=np.float64).reshape(value.shape)
                clamped = True
        for key, change in self._changes.items():
            before, last = self.previous[key], self._moves[key]
            room = np.reshape(np.asarray(change), before.shape)
            wanted = np.minimum(np.abs(out[key] - before), _stoppable(np.abs(action[key] - before), room))
            step = np.clip(np.copysign(wanted, out[key] - before), last - room, last + room)
            there = np.abs(before + step - out[key]) <= ROUNDING
            eased = np.where(there, out[key], before + step)
            if not np.array_equal(eased, out[key]):
                out[key], clamped = eased, True
        return out, clamped

    def _explain(self, index: int, key: str, value: NDArray[np.float64]) -> str:
        what = "is not finite" if not np.isfinite(value).all() else "is out of bounds"
        low, high = self.limits.action_low[key], self.limits.action_high[key]
        shown = ", ".join(f"{number:g}" for number in value.ravel())
        return f"action {index} {key!r} {what}: ({shown}) {self._units[key]}; allowed: {low} to {high}; the robot held"
