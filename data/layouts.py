"""How an environment's episodes become columns of a LeRobotDataset, as its card says (`columns` in environment.yaml)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cache
from importlib import import_module
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from data.episodes import Arrays, EpisodeArrays
from data.shard import Columns, Feature
from nightlab.cards import find
from nightlab.errors import LabError
from nightlab.geometry import BAR_LOCAL, STEM_LOCAL
from nightlab.records import DatasetColumn, EpisodeRecord


def keypoints(poses: NDArray[np.float64]) -> NDArray[np.float64]:
    """The 8 corners of the T at poses [T, 3] (px, px, rad) as [T, 16]: x0, y0, …, in gym-pusht's order, px.

    In the body frame. Bar: 0 (-60, 0), 1 (60, 0), 2 (60, 30), 3 (-60, 30); stem: 4 (-15, 30), 5 (15, 30), 6 (15, 120),
    7 (-15, 120).
    """
    boxes = (BAR_LOCAL, STEM_LOCAL)
    local = np.array([corner for x0, x1, y0, y1 in boxes for corner in ((x0, y0), (x1, y0), (x1, y1), (x0, y1))])
    cos, sin = np.cos(poses[:, 2:3]), np.sin(poses[:, 2:3])
    x = poses[:, 0:1] + cos * local[:, 0] - sin * local[:, 1]
    y = poses[:, 1:2] + sin * local[:, 0] + cos * local[:, 1]
    return np.stack([x, y], axis=2).reshape(len(poses), 16)


def sentence(environment: str) -> str:
    """What the policy was to do, as the dataset says it."""
    about = find(environment)
    return about.sentence if about is not None else environment


def film_key(environment: str) -> str:
    """The dataset's feature that holds the film: that of the environment's camera."""
    about = find(environment)
    return f"observation.images.{about.camera if about is not None else 'top'}"


def rate_hz(record: EpisodeRecord, arrays: EpisodeArrays) -> int:
    """Control rate of an episode: the environment's own; where it is not installed, from the time stamps."""
    about = find(record.environment)
    if about is not None:
        return max(1, round(about.rate_hz))
    span_s = float(arrays.station_s[-1] - arrays.station_s[0]) if len(arrays) > 1 else 0.0
    return max(1, round((len(arrays) - 1) / span_s)) if span_s > 0 else 10


def features(record: EpisodeRecord, arrays: EpisodeArrays) -> dict[str, Feature]:
    """The columns of an episode's dataset, without lerobot's index columns."""
    found = {
        key: Feature("float32", rows.shape[1], names)
        for key, (rows, names) in _vectors(record.environment, arrays).items()
    }
    found |= {key: Feature("bool", 1) for key in ("late", "clamped", "next.done")}
    found |= {key: Feature("int64", 1) for key in ("seed", "attempt", "station_ns", "wall_ns")}
    return found | {key: Feature("string", 1) for key in ("idea", "outcome")}


def columns(record: EpisodeRecord, arrays: EpisodeArrays, rows: Sequence[int] | None = None) -> Columns:
    """The episode's columns; with `rows`, those rows only.

    `station_ns` and `wall_ns` are the two clocks in whole nanoseconds since the epoch, because lerobot hands out every
    float as float32.
    """
    picked = np.arange(len(arrays)) if rows is None else np.asarray(rows, np.int64)
    count = len(picked)
    last = np.zeros(count, np.bool_)
    last[-1:] = True
    found: dict[str, NDArray[Any]] = {
        key: values[picked].astype(np.float32) for key, (values, _) in _vectors(record.environment, arrays).items()
    }
    return found | {
        "late": arrays.late[picked],
        "clamped": arrays.clamped[picked],
        "next.done": last,
        "seed": np.full(count, record.key.seed, np.int64),
        "attempt": np.full(count, record.key.attempt, np.int64),
        "station_ns": np.rint(arrays.station_s[picked] * 1e9).astype(np.int64),
        "wall_ns": np.rint(arrays.wall_s[picked] * 1e9).astype(np.int64),
        "idea": np.full(count, record.key.idea),
        "outcome": np.full(count, record.verdict.outcome.value),
    }


Named = dict[str, tuple[NDArray[np.float64], tuple[str, ...]]]


def _vectors(environment: str, arrays: EpisodeArrays) -> Named:
    """Observation and action vectors [T, width] with the names of their elements."""
    seen, about = arrays.observations, find(environment)
    wanted = about.columns if about is not None else {}
    found: Named
    if wanted and all(column.channel in seen for column in wanted.values()):
        found = {key: _column(column, seen[column.channel]) for key, column in wanted.items()}
    else:
        found = {"observation.state": _joined(seen)}
        found |= {f"observation.{key}": (_flat(rows), _names(key, rows)) for key, rows in seen.items() if len(seen) > 1}
    return found | {"action": _joined(arrays.executed), "action_requested": _joined(arrays.requested)}


def _column(column: DatasetColumn, rows: NDArray[np.float64]) -> tuple[NDArray[np.float64], tuple[str, ...]]:
    values = _flat(_transform(column.transform)(rows) if column.transform else rows)
    names = column.names or _names(column.channel, values)
    if len(names) != values.shape[1]:
        raise LabError(
            f"the environment's card names {len(names)} elements of {column.channel!r}, which has {values.shape[1]}; "
            "mend `columns` in its environment.yaml"
        )
    return values, names


@cache
def _transform(place: str) -> Callable[[NDArray[np.float64]], NDArray[np.float64]]:
    module, _, name = place.partition(":")
    try:
        return cast("Callable[[NDArray[np.float64]], NDArray[np.float64]]", getattr(import_module(module), name))
    except (ImportError, AttributeError, ValueError) as error:
        raise LabError(
            f"the environment's card asks for the transform {place!r}, which is not there ({error}); it is written as "
            "module:function in `columns` of environment.yaml"
        ) from error


def _joined(channels: Arrays) -> tuple[NDArray[np.float64], tuple[str, ...]]:
    names = tuple(name for key, rows in channels.items() for name in _names(key, rows))
    return np.hstack([_flat(rows) for rows in channels.values()]), names


def _flat(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    return rows.reshape(len(rows), -1)


def _names(key: str, rows: NDArray[np.float64]) -> tuple[str, ...]:
    width = math.prod(rows.shape[1:])
    return (key,) if width == 1 else tuple(f"{key}.{number}" for number in range(width))
