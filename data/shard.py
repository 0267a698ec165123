"""A shard: episodes of one iteration and station as a LeRobotDataset v3, written with numpy and pyarrow alone.

lerobot's own writer costs 0.3 CPU-seconds an episode and 12 for its import; the robots need that time. This one writes
the same files in a few milliseconds. tests/data/test_shards_load.py loads them with plain lerobot and holds their
schema against lerobot's own writer. Pinned to the layout of lerobot 0.6 (codebase version v3.0).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Columns = dict[str, NDArray[Any]]
"""Feature → [T, width], or [T] of strings."""

TASK = "reach the environment's goal"
DATA_PATH = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
VIDEO_PATH = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
QUANTILES = {"q01": 0.01, "q10": 0.1, "q50": 0.5, "q90": 0.9, "q99": 0.99}
_ARROW = {"float32": "float32", "float64": "float64", "int64": "int64", "bool": "bool_", "string": "string"}
_INDEX = ("timestamp", "frame_index", "episode_index", "index", "task_index")


@dataclass(frozen=True, slots=True)
class Feature:
    """One column of the dataset."""

    dtype: str
    width: int
    names: tuple[str, ...] | None = None

    @property
    def scalar(self) -> bool:
        return self.width == 1


@dataclass(frozen=True, slots=True)
class VideoTrack:
    """A video that belongs to the dataset: one file, the episodes one after the other."""

    key: str
    height_px: int
    width_px: int
    from_s: Sequence[float]
    """Per episode, where it begins in the file."""
    to_s: Sequence[float]
    stats: Sequence[dict[str, Any]]
    """Per episode, lerobot's image statistics: name → [3, 1, 1] in [0, 1]."""
    pixels: NDArray[np.float64] = field(default_factory=lambda: np.zeros((1, 3)))
    """Sampled pixels [n, 3] in [0, 1] of all episodes, for the dataset's statistics."""


def write_dataset(
    root: Path,
    features: Mapping[str, Feature],
    episodes: Sequence[Columns],
    *,
    fps: int,
    robot_type: str,
    task: str = TASK,
    video: VideoTrack | None = None,
) -> int:
    """Write a whole dataset at `root` (the video file itself is already there); returns the number of frames.

    Args:
        root: an empty or missing directory.
        features: own columns; lerobot's index columns are added.
        episodes: per episode the columns, all with the same T ≥ 1.
        fps: frames per second of the dataset's time stamps.
        robot_type: what the station is.
        task: sentence that describes what the policy was to do.
        video: its pictures, if it has any.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    everything = {**features, **_index_features()}
    complete, first = [], 0
    for number, columns in enumerate(episodes):
        length = len(next(iter(columns.values())))
        complete.append({**columns, **_index_columns(number, first, length, fps)})
        first += length
    schema, arrays = [], []
    for key, feature in everything.items():
        array = _arrow(feature, [columns[key] for columns in complete])
        schema.append(pa.field(key, array.type))
        arrays.append(array)
    table = pa.Table.from_arrays(arrays, schema=pa.schema(schema, metadata={"huggingface": _hugging_face(everything)}))
    _parquet(pq, table, root / DATA_PATH.format(chunk_index=0, file_index=0))
    _write_meta(pa, pq, root, everything, complete, fps, robot_type, task, video)
    return first


def _write_meta(
    pa: Any,
    pq: Any,
    root: Path,
    features: Mapping[str, Feature],
    episodes: Sequence[Columns],
    fps: int,
    robot_type: str,
    task: str,
    video: VideoTrack | None,
) -> None:
    meta = root / "meta"
    meta.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = []
    for number, columns in enumerate(episodes):
        index = columns["index"]
        row: dict[str, Any] = {
            "episode_index": number, "tasks": [task], "length": len(index), "data/chunk_index": 0, "data/file_index": 0,
            "dataset_from_index": int(index[0]), "dataset_to_index": int(index[-1]) + 1,
        }  # fmt: skip
        stats = _statistics(features, [columns])
        if video is not None:
            name = f"videos/{video.key}"
            row |= {f"{name}/chunk_index": 0, f"{name}/file_index": 0}
            row |= {f"{name}/from_timestamp": video.from_s[number], f"{name}/to_timestamp": video.to_s[number]}
            stats[video.key] = video.stats[number]
        row |= {f"stats/{key}/{name}": value for key, found in stats.items() for name, value in found.items()}
        rows.append({**row, "meta/episodes/chunk_index": 0, "meta/episodes/file_index": 0})
    _parquet(pq, pa.Table.from_pylist(rows), meta / "episodes/chunk-000/file-000.parquet")
    tasks = pa.table({"task_index": pa.array([0], pa.int64()), "task": pa.array([task])})
    _parquet(pq, tasks.replace_schema_metadata({"pandas": _PANDAS}), meta / "tasks.parquet")
    total = _statistics(features, episodes)
    described = {key: _describe(feature) for key, feature in features.items()}
    if video is not None:
        total[video.key] = image_statistics(video.pixels, len(video.from_s) and sum(len(c["index"]) for c in episodes))
        described[video.key] = _describe_video(video, fps)
    info = {
        "codebase_version": "v3.0",
        "fps": fps,
        "features": described,
        "total_episodes": len(episodes),
        "total_frames": sum(len(columns["index"]) for columns in episodes),
        "total_tasks": 1,
        "chunks_size": 1000,
        "data_files_size_in_mb": 100,
        "video_files_size_in_mb": 200,
        "data_path": DATA_PATH,
        "video_path": VIDEO_PATH if video is not None else None,
        "robot_type": robot_type,
        "splits": {"train": f"0:{len(episodes)}"},
    }
    (meta / "stats.json").write_text(json.dumps(total))
    (meta / "info.json").write_text(json.dumps(info, indent=1))


def image_statistics(pixels: NDArray[np.float64], count: int) -> dict[str, Any]:
    """Statistics of pictures as lerobot keeps them,: name → [3, 1, 1] from pixels [n, 3] in [0, 1]."""
    found = _summary(pixels)
    return {**{name: [[[v]] for v in values] for name, values in found.items()}, "count": [count]}


def _statistics(features: Mapping[str, Feature], episodes: Sequence[Columns]) -> dict[str, dict[str, Any]]:
    """min, max, mean, std, count and five quantiles of every numeric feature, all columns in one go."""
    keys = [key for key, feature in features.items() if feature.dtype != "string"]
    matrix = np.concatenate(
        [
            np.hstack([columns[key].reshape(len(columns[key]), -1).astype(np.float64) for key in keys])
            for columns in episodes
        ]
    )
    summary, count = _summary(matrix), [len(matrix)]
    found, start = {}, 0
    for key in keys:
        stop = start + features[key].width
        found[key] = {**{name: values[start:stop] for name, values in summary.items()}, "count": count}
        start = stop
    return found


def _summary(matrix: NDArray[np.float64]) -> dict[str, list[float]]:
    """Statistics per column of [n, width]."""
    ordered = np.sort(matrix, axis=0)
    last = len(ordered) - 1
    found = {"min": ordered[0], "max": ordered[-1], "mean": matrix.mean(axis=0), "std": matrix.std(axis=0)}
    for name, share in QUANTILES.items():
        at = share * last
        low = int(at)
        found[name] = ordered[low] + (at - low) * (ordered[min(low + 1, last)] - ordered[low])
    return {name: values.tolist() for name, values in found.items()}


def _index_features() -> dict[str, Feature]:
    return {name: Feature("float32" if name == "timestamp" else "int64", 1) for name in _INDEX}


def _index_columns(number: int, first: int, length: int, fps: int) -> Columns:
    frames = np.arange(length, dtype=np.int64)
    return {
        "timestamp": (frames / fps).astype(np.float32),
        "frame_index": frames,
        "episode_index": np.full(length, number, np.int64),
        "index": frames + first,
        "task_index": np.zeros(length, np.int64),
    }


def _arrow(feature: Feature, parts: Sequence[NDArray[Any]]) -> Any:
    import pyarrow as pa

    kind = getattr(pa, _ARROW[feature.dtype])()
    if feature.dtype == "string":
        return pa.array([text for part in parts for text in part], kind)
    flat = np.concatenate([np.ascontiguousarray(part).reshape(-1) for part in parts]).astype(feature.dtype)
    values = pa.array(flat, kind)
    return values if feature.scalar else pa.FixedSizeListArray.from_arrays(values, feature.width)


def _describe(feature: Feature) -> dict[str, Any]:
    return {"dtype": feature.dtype, "shape": [feature.width], "names": list(feature.names) if feature.names else None}


def _describe_video(video: VideoTrack, fps: int) -> dict[str, Any]:
    return {
        "dtype": "video",
        "shape": [video.height_px, video.width_px, 3],
        "names": ["height", "width", "channels"],
        "info": {
            "video.height": video.height_px, "video.width": video.width_px, "video.codec": "h264",
            "video.pix_fmt": "yuv420p", "video.fps": fps, "video.channels": 3, "has_audio": False,
            "is_depth_map": False,
        },
    }  # fmt: skip


def _hugging_face(features: Mapping[str, Feature]) -> str:
    """The `datasets` schema of the data file, as that library writes it."""

    def kind(feature: Feature) -> dict[str, Any]:
        value = {"dtype": feature.dtype, "_type": "Value"}
        return value if feature.scalar else {"feature": value, "length": feature.width, "_type": "List"}

    return json.dumps({"info": {"features": {key: kind(feature) for key, feature in features.items()}}})


_PANDAS = json.dumps(
    {
        "index_columns": ["task"],
        "column_indexes": [
            {"name": None, "field_name": None, "pandas_type": "unicode", "numpy_type": "object",
             "metadata": {"encoding": "UTF-8"}}
        ],
        "columns": [
            {"name": name, "field_name": name, "pandas_type": kind, "numpy_type": numpy_kind, "metadata": None}
            for name, kind, numpy_kind in (("task_index", "int64", "int64"), ("task", "unicode", "object"))
        ],
        "attributes": {}, "creator": {"library": "pyarrow", "version": "0"}, "pandas_version": "2.3.3",
    }
)  # fmt: skip


def _parquet(pq: Any, table: Any, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, compression="snappy", use_dictionary=True)
