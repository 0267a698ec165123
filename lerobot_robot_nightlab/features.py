"""A station's channels as LeRobot's features: flat, one number each, in LeRobot's units, and back.

An element with a name of LeRobot's (`shoulder_pan.pos`) keeps it, and is given in degrees where the station has rad,
in percent where it has a share of one: what LeRobot's leaders and datasets use. Any other is `channel` or `channel.i`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nightlab.contracts import Values
from nightlab.errors import SafetyError
from nightlab.records import Channel

SCALE = {"rad": 180 / math.pi, "1": 100.0}


@dataclass(frozen=True, slots=True)
class Feature:
    """One number."""

    name: str
    channel: str
    index: int
    scale: float
    """LeRobot's value of one station unit."""


def features(channels: Sequence[Channel]) -> tuple[Feature, ...]:
    """The features of channels, in their order."""
    out: list[Feature] = []
    for channel in channels:
        size = int(np.prod(channel.shape))
        units = channel.unit.split(",")
        for index in range(size):
            if channel.names:
                unit = units[index] if len(units) == size else channel.unit
                out.append(Feature(channel.names[index], channel.key, index, SCALE.get(unit, 1.0)))
            else:
                out.append(Feature(channel.key if size == 1 else f"{channel.key}.{index}", channel.key, index, 1.0))
    return tuple(out)


def to_lerobot(parts: Sequence[Feature], values: Values) -> dict[str, float]:
    """A station's values, flat."""
    return {part.name: float(np.ravel(values[part.channel])[part.index]) * part.scale for part in parts}


def to_station(
    parts: Sequence[Feature], channels: Sequence[Channel], action: Mapping[str, float]
) -> dict[str, NDArray[np.float64]]:
    """LeRobot's action as a station takes it, cut to the bounds of its channels as LeRobot's own robots do.

    Raises:
        SafetyError: a number is missing or not finite.
    """
    missing = [part.name for part in parts if part.name not in action]
    if missing:
        raise SafetyError(
            f"the action lacks {', '.join(missing)}; this station takes: {', '.join(part.name for part in parts)}"
        )
    out: dict[str, NDArray[np.float64]] = {}
    for channel in channels:
        mine = [part for part in parts if part.channel == channel.key]
        value = np.array([float(action[part.name]) / part.scale for part in mine])
        if not np.isfinite(value).all():
            raise SafetyError(f"the action has a {channel.key} that is not finite: {value.tolist()}; the robot held")
        out[channel.key] = np.clip(value, channel.low, channel.high).reshape(channel.shape)
    return out
