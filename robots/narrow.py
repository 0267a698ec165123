"""The limits of `station.yaml` laid over those of the driver: what a command may be. Pure.

Soft joint limits, workspace boxes and joint velocities become bounds and steps of the action channels that set them, so
that the safety filter checks whole chunks against them like any other limit, and `describe()` shows them. They only
narrow. Accelerations go to the filter as they are; what is measured is `robots/monitor.py`'s.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod

from nightlab.errors import UsageError
from nightlab.records import Channel, LimitsSpec, SafetyConfig, StationSpec
from robots.safety import intersect


def narrowed(spec: StationSpec, config: SafetyConfig) -> LimitsSpec:
    """The limits of a station under its `station.yaml`.

    Raises:
        UsageError: a channel that the station does not have, or numbers that do not fit it.
        SafetyError: nothing would be allowed any more.
    """
    own = spec.limits
    sizes = {channel.key: prod(channel.shape) for channel in spec.actions}
    limits = _over(own, spec.actions, config.action_low, config.action_high, config.max_step, sizes)
    for key, joints in config.joints.items():
        if not joints.command:
            continue
        _fits(f"limits.joints.{key}.command", joints.command, len(joints.soft_low), sizes, whole=True)
        step = {joints.command: tuple(v / spec.rate_hz for v in joints.max_velocity)} if joints.max_velocity else {}
        low, high = {joints.command: joints.soft_low}, {joints.command: joints.soft_high}
        limits = _over(limits, spec.actions, low, high, step, sizes)
    for key, box in config.workspace.items():
        if not box.command:
            continue
        _fits(f"limits.workspace.{key}.command", box.command, 3, sizes, whole=False)
        low = {box.command: (*box.low_m, *limits.action_low[box.command][3:])}
        high = {box.command: (*box.high_m, *limits.action_high[box.command][3:])}
        limits = _over(limits, spec.actions, low, high, {}, sizes)
    return limits.model_copy(update={"late_periods": min(own.late_periods, config.late_periods)})


def step_changes(spec: StationSpec, config: SafetyConfig) -> dict[str, tuple[float, ...]]:
    """Largest change of the step between two control periods, by action channel: acceleration × period²."""
    return {
        joints.command: tuple(value / spec.rate_hz**2 for value in joints.max_acceleration)
        for joints in config.joints.values()
        if joints.command and joints.max_acceleration
    }


def _over(
    limits: LimitsSpec,
    actions: Sequence[Channel],
    low: Mapping[str, tuple[float, ...]],
    high: Mapping[str, tuple[float, ...]],
    step: Mapping[str, tuple[float, ...]],
    sizes: Mapping[str, int],
) -> LimitsSpec:
    for name, given in (("action_low", low), ("action_high", high), ("max_step", step)):
        for key, values in given.items():
            _fits(f"limits.{name}", key, len(values), sizes, whole=True)
    return intersect(
        limits,
        LimitsSpec(
            action_low={**limits.action_low, **low},
            action_high={**limits.action_high, **high},
            max_step=dict(step),
            late_periods=limits.late_periods,
        ),
        actions,
    )


def _fits(what: str, key: str, size: int, sizes: Mapping[str, int], *, whole: bool) -> None:
    if key not in sizes:
        raise UsageError(f"{what}: no action channel {key!r} at this station; there are: {', '.join(sorted(sizes))}")
    if (size != sizes[key]) if whole else (size > sizes[key]):
        raise UsageError(f"{what}: channel {key!r} has {sizes[key]} numbers, {size} were given")
