"""The arrays of one episode, and the file in which they wait for the recorder: msgpack with a checksum, no pickle.

File layout: 8 bytes magic, 32 bytes SHA-256 of the rest, 4 bytes big-endian length of the record, the `EpisodeRecord`
as JSON, the arrays as msgpack. So the keeper can take an episode in by reading the record only.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgpack
import numpy as np
from numpy.typing import NDArray

from data.judged import read_judged
from nightlab.contracts import Frame, Observation, StoredEvidence, Values
from nightlab.depth import encode_depth
from nightlab.errors import LabError
from nightlab.records import EpisodeKey, EpisodeRecord

if TYPE_CHECKING:
    from data.lab import Lab

MAGIC = b"NLEPIS1\n"
_HEAD = len(MAGIC) + 32
PNG_LEVEL = 1
"""zlib level of judged frames: flat pictures of the simulator shrink well at the fastest level."""

Arrays = dict[str, NDArray[np.float64]]


@dataclass(frozen=True, slots=True)
class EpisodeArrays:
    """What one episode of T steps recorded. Row t: what was seen before action t, the action, what came of it."""

    observations: Arrays = field(default_factory=dict)
    """Channel → [T, …] in the channel's own unit."""
    requested: Arrays = field(default_factory=dict)
    """Action channel → [T, …] as the policy asked for it."""
    executed: Arrays = field(default_factory=dict)
    """Action channel → [T, …] as it really ran, after the safety filter."""
    late: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, np.bool_))
    clamped: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, np.bool_))
    station_s: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    """[T] station clock of the observation, s."""
    wall_s: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    """[T] wall clock of the observation, s since the epoch."""
    frames_png: list[bytes] = field(default_factory=list)
    """The frames that the verifier judged, lossless RGB, oldest first."""
    frame_cameras: list[str] = field(default_factory=list)
    """Camera of each judged frame; empty in episodes of one camera that were recorded before there were several."""
    frame_seqs: list[int] = field(default_factory=list)
    depths_png: list[bytes] = field(default_factory=list)
    """Depth of each judged frame (see nightlab/depth.py), `b""` where the camera has none; empty: none has."""
    measures: dict[str, float] = field(default_factory=dict)
    """`EpisodeEvidence.measures`."""
    judged: Arrays = field(default_factory=dict)
    """Channel → [frames, …]: the observations at those frames."""
    film_jpeg: list[bytes] = field(default_factory=list)
    reset_jpeg: list[bytes] = field(default_factory=list)
    """Pictures before and after the reset; what each shows stands in `ResetReport.frames`."""
    film_steps: list[int] = field(default_factory=list)
    """Row that each filmed picture belongs to (the picture shows the state after the action of that row)."""

    def __len__(self) -> int:
        return len(self.station_s)

    def with_frames(
        self, frames: Sequence[Frame], observations: Sequence[Values] = (), measures: Mapping[str, float] | None = None
    ) -> EpisodeArrays:
        """With the judged frames as PNG (Push-T: about 2 ms each) and the observations taken with them.

        A frame that equals an earlier one of its camera shares its bytes.
        """
        depths = _shared(
            frames,
            lambda frame: b"" if frame.depth_m is None else encode_depth(frame.depth_m),
            lambda a, b: _same(a.depth_m, b.depth_m),
        )
        return replace(
            self,
            frames_png=_shared(frames, lambda frame: encode_png(frame.rgb), lambda a, b: _same(a.rgb, b.rgb)),
            depths_png=depths if any(depths) else [],
            frame_cameras=[frame.camera for frame in frames],
            frame_seqs=[frame.seq for frame in frames],
            judged=_stack(observations),
            measures={key: float(value) for key, value in (measures or {}).items()},
        )

    def stored(self) -> StoredEvidence:
        """What was judged, as it was kept."""
        return StoredEvidence(
            frames_png=self.frames_png,
            observations=self.judged_observations(),
            cameras=self.frame_cameras,
            seqs=self.frame_seqs,
            depths_png=self.depths_png,
            measures=self.measures,
        )

    def judged_observations(self) -> list[Values]:
        """The observations at the judged frames, one mapping per frame."""
        count = min((len(rows) for rows in self.judged.values()), default=0)
        return [{key: rows[number] for key, rows in self.judged.items()} for number in range(count)]


class EpisodeBuffer:
    """Collects an episode step by step on the robot's path: appends only, no copies of pictures."""

    def __init__(self) -> None:
        self._before: list[Observation] = []
        self._action: list[Values] = []
        self._after: list[Observation] = []

    def __len__(self) -> int:
        return len(self._before)

    def add(self, before: Observation, action: Values, after: Observation) -> None:
        """One step: the observation acted on, the action asked for, the observation after it."""
        self._before.append(before)
        self._action.append(action)
        self._after.append(after)

    def arrays(self) -> EpisodeArrays:
        """Everything so far as arrays. `executed` of a step that reports none is the requested action."""
        executed = [after.executed or action for after, action in zip(self._after, self._action, strict=True)]
        film = [(step, after.image_jpeg) for step, after in enumerate(self._after) if after.image_jpeg]
        return EpisodeArrays(
            observations=_stack([before.values for before in self._before]),
            requested=_stack(self._action),
            executed=_stack(executed),
            late=np.array([after.flags.late for after in self._after], np.bool_),
            clamped=np.array([after.flags.clamped for after in self._after], np.bool_),
            station_s=np.array([before.clock.station_s for before in self._before]),
            wall_s=np.array([before.clock.wall_s for before in self._before]),
            film_jpeg=[jpeg for _, jpeg in film],
            film_steps=[step for step, _ in film],
        )


def encode_png(rgb: NDArray[np.uint8]) -> bytes:
    """Lossless PNG of an RGB picture."""
    import cv2

    done, png = cv2.imencode(".png", rgb[:, :, ::-1], [cv2.IMWRITE_PNG_COMPRESSION, PNG_LEVEL])
    if not done:
        raise LabError(f"cannot encode a picture of shape {rgb.shape} as PNG; uint8 [height, width, 3] is needed")
    return bytes(png)


def _shared(
    frames: Sequence[Frame], encode: Callable[[Frame], bytes], same: Callable[[Frame, Frame], bool]
) -> list[bytes]:
    """Each frame encoded; one that is the same as its camera's frame before shares its bytes."""
    out: list[bytes] = []
    latest: dict[str, int] = {}
    for number, frame in enumerate(frames):
        before = latest.get(frame.camera)
        out.append(out[before] if before is not None and same(frames[before], frame) else encode(frame))
        latest[frame.camera] = number
    return out


def _same(a: NDArray[Any] | None, b: NDArray[Any] | None) -> bool:
    return a is b or (a is not None and b is not None and np.array_equal(a, b))


def _stack(rows: Sequence[Values]) -> Arrays:
    if not rows:
        return {}
    return {key: np.array([row[key] for row in rows], np.float64) for key in rows[0]}


def _plain(value: NDArray[Any]) -> dict[str, Any]:
    return {"t": value.dtype.str, "s": list(value.shape), "b": np.ascontiguousarray(value).tobytes()}


def _array(value: Mapping[str, Any]) -> NDArray[Any]:
    kind = np.dtype(str(value["t"]))
    if kind.hasobject:
        raise ValueError("an array of Python objects")
    return np.frombuffer(value["b"], kind).reshape([int(length) for length in value["s"]])


_GROUPS = ("observations", "requested", "executed", "judged")
_ROWS = ("late", "clamped", "station_s", "wall_s")
_LISTS = ("frames_png", "film_jpeg", "film_steps")
_LATER_LISTS = ("frame_cameras", "frame_seqs", "depths_png", "reset_jpeg")
"""Lists that episodes of earlier versions lack."""


def pack(record: EpisodeRecord, arrays: EpisodeArrays) -> bytes:
    """The episode's file as bytes."""
    body: dict[str, Any] = {
        name: {key: _plain(rows) for key, rows in getattr(arrays, name).items()} for name in _GROUPS
    }
    body |= {name: _plain(getattr(arrays, name)) for name in _ROWS}
    body |= {name: getattr(arrays, name) for name in (*_LISTS, *_LATER_LISTS, "measures")}
    head = record.model_dump_json().encode()
    rest = b"".join((len(head).to_bytes(4, "big"), head, msgpack.packb(body)))
    return MAGIC + hashlib.sha256(rest).digest() + rest


def check(blob: bytes, name: str = "episode") -> None:
    """Raise LabError unless `blob` is a whole episode file (magic and checksum)."""
    rest = memoryview(blob)[_HEAD:]
    if blob[: len(MAGIC)] != MAGIC or hashlib.sha256(rest).digest() != blob[len(MAGIC) : _HEAD]:
        raise LabError(
            f"{name} is torn: its checksum does not match its {len(blob)} bytes. The keeper moves such files to "
            f"spool/torn and the episode is run again; restart the keeper: nightlab up"
        )


def read_record(blob: bytes, name: str = "episode") -> EpisodeRecord:
    """The record of an episode file; checks the checksum first."""
    check(blob, name)
    length = int.from_bytes(blob[_HEAD : _HEAD + 4], "big")
    return EpisodeRecord.model_validate_json(blob[_HEAD + 4 : _HEAD + 4 + length])


def unpack(blob: bytes, name: str = "episode") -> tuple[EpisodeRecord, EpisodeArrays]:
    """Record and arrays of an episode file.

    Raises:
        LabError: torn or not an episode file.
    """
    record = read_record(blob, name)
    length = int.from_bytes(blob[_HEAD : _HEAD + 4], "big")
    try:
        body = msgpack.unpackb(memoryview(blob)[_HEAD + 4 + length :], strict_map_key=True)
        parts: dict[str, Any] = {group: {key: _array(rows) for key, rows in body[group].items()} for group in _GROUPS}
        parts |= {part: _array(body[part]) for part in _ROWS}
        parts |= {part: list(body[part]) for part in _LISTS}
        parts |= {part: list(body.get(part, ())) for part in _LATER_LISTS}
        parts["measures"] = {str(key): float(value) for key, value in body.get("measures", {}).items()}
        arrays = EpisodeArrays(**parts)
    except (ValueError, KeyError, TypeError) as error:
        raise LabError(f"{name} has a whole checksum but no episode inside: {error}") from error
    return record, arrays


def write_atomic(path: Path, blob: bytes, *, sync: bool = True) -> None:
    """Write `path` so that it exists whole or not at all, also after a power cut (with `sync`)."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    descriptor = os.open(partial, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o644)
    try:
        with os.fdopen(descriptor, "wb", closefd=False) as file:
            file.write(blob)
        if sync:
            os.fsync(descriptor)
        partial.rename(path)
    except OSError:  # a full disk: half a file would only take space from others
        partial.unlink(missing_ok=True)
        raise
    finally:
        os.close(descriptor)
    if sync:
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def read_evidence(lab: Lab, key: EpisodeKey) -> StoredEvidence:
    """What the verifier judged of an episode, from spool or shard.

    Raises:
        LabError: neither holds the episode.
    """
    spooled = lab.spool_dir / f"{key.text()}.episode"
    try:
        return unpack(spooled.read_bytes(), spooled.name)[1].stored()
    except FileNotFoundError:
        pass
    for folder in lab.judged_dirs(key):
        if folder.is_dir():
            return read_judged(folder)
    raise LabError(
        f"no judged frames of episode {key.text()} in {lab.path}: neither in spool/ nor in rollouts/. "
        f"Fetch what is missing with: dvc checkout (in the lab)"
    )


def read_observations(lab: Lab, campaign: str, count: int) -> list[Values]:
    """Up to `count` recorded observations of a campaign, for dry runs: the judged ones of its latest episodes."""
    found: list[Values] = []
    for path in _newest(lab.spool_dir.glob(f"{campaign}-*.episode")):
        try:
            _, arrays = unpack(path.read_bytes(), path.name)
        except (OSError, LabError):
            continue
        steps = np.linspace(0, max(0, len(arrays) - 1), 4).astype(int) if len(arrays) else ()
        found += [{key: rows[step].copy() for key, rows in arrays.observations.items()} for step in steps]
        if len(found) >= count:
            return found[:count]
    for path in _newest(lab.rollouts_dir.glob(f"*/*/judged/{campaign}-*/observations.json")):
        found += read_judged(path.parent).observations[:1]
        if len(found) >= count:
            break
    return found[:count]


def _newest(paths: Iterable[Path]) -> list[Path]:
    """Newest first, 8 at most; files that vanish meanwhile are left out."""
    dated = []
    for path in paths:
        try:
            dated.append((path.stat().st_mtime_ns, path))
        except OSError:
            continue
    return [path for _, path in sorted(dated, reverse=True)[:8]]
