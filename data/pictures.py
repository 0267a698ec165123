"""Pictures for the report: the film of the best policy and failures to look at, as data URLs."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from data.campaign_state import CampaignState
from data.episodes import read_evidence, unpack
from data.judged import reset_file
from nightlab.contracts import StoredEvidence
from nightlab.errors import NightlabError
from nightlab.records import EpisodeRecord, Event, Outcome, SeedPool

if TYPE_CHECKING:
    from data.lab import Lab

FRAME_PX = 384
FILM_MOST_BYTES = 4_000_000
RESETS_TRIED = 5
"""Episodes whose pictures are looked for before giving up."""


@dataclass(frozen=True, slots=True)
class Film:
    """The film of one success."""

    idea: str
    iteration: str
    url: str


@dataclass(frozen=True, slots=True)
class Failure:
    """One failed episode and the last frame of each camera that the verifier judged."""

    idea: str
    iteration: str
    pool: str
    reason: str
    score: float
    steps: int
    end: str
    url: str


def best_film(lab: Lab, state: CampaignState) -> Film | None:
    """The first success that was filmed of the best idea: held out if there is one, else of its own trial."""
    for iteration in _iterations(state, state.best):
        for folder in sorted((lab.rollouts_dir / iteration).glob("*-video")):
            for path in sorted(folder.glob("videos/**/*.mp4")):
                film = first_episode(path, folder)
                if film and len(film) <= FILM_MOST_BYTES:
                    return Film(state.best, iteration, _url("video/mp4", film))
    return None


def failures(lab: Lab, state: CampaignState, episodes: Sequence[EpisodeRecord], most: int = 3) -> list[Failure]:
    """Failures worth a look: of the best idea first, then of earlier incumbents; different reasons first."""
    found: list[Failure] = []
    for record in _worth_seeing(state, episodes):
        if len(found) == most:
            break
        try:
            frames_png = last_of_each_camera(read_evidence(lab, record.key))
        except (NightlabError, OSError, ValueError):
            continue
        if not frames_png:
            continue
        found.append(
            Failure(
                idea=record.key.idea,
                iteration=record.key.iteration,
                pool=record.key.pool.value.replace("_", " "),
                reason=record.verdict.reason.replace("_", " ") or "failed",
                score=record.verdict.score,
                steps=record.steps,
                end=record.end.value.replace("_", " "),
                url=_url("image/jpeg", side_by_side(frames_png)),
            )
        )
    return found


@dataclass(frozen=True, slots=True)
class ResetPictures:
    """What the cameras saw before and after one reset."""

    title: str
    note: str
    pictures: list[tuple[str, str]]
    """(what it shows, data URL)."""


def reset_pictures(
    lab: Lab | None, events: Sequence[Event], episodes: Sequence[EpisodeRecord], most: int = 2
) -> list[ResetPictures]:
    """Resets that gave up, the latest first, then the one that took the most attempts; only where pictures were kept."""
    found: list[ResetPictures] = []
    for event in reversed([event for event in events if event.kind == "station_parked"]):
        labels = [str(label) for label in dict(event.data.get("reset", {})).get("frames", ())]
        shots = [f"data:image/jpeg;base64,{text}" for text in event.data.get("pictures_jpeg_base64", ())]
        if shots and len(found) < most:
            pairs = list(zip([*labels, *[""] * len(shots)], shots, strict=False))
            found.append(ResetPictures(f"{event.station} gave up", str(event.data.get("reason", "")), pairs))
    taken = sorted((e for e in episodes if e.reset.frames), key=lambda e: (-e.reset.attempts, -e.rollout_end.wall_s))
    if lab is None or len(found) >= most:
        return found
    for record in taken[:RESETS_TRIED]:
        pictures = read_reset_jpeg(lab, record)
        if pictures:
            note = f"{record.reset.attempts} attempt{'s' if record.reset.attempts != 1 else ''}, {record.reset.duration_s:.0f} s"
            pairs = [(label, _url("image/jpeg", jpeg)) for label, jpeg in pictures]
            found.append(ResetPictures(f"A reset of {record.key.station}", note, pairs))
            break
    return found


def read_reset_jpeg(lab: Lab, record: EpisodeRecord) -> list[tuple[str, bytes]]:
    """The kept pictures of an episode's reset with what they show, from spool or shard; empty if there are none."""
    spooled = lab.spool_dir / f"{record.key.text()}.episode"
    try:
        return list(zip(record.reset.frames, unpack(spooled.read_bytes())[1].reset_jpeg, strict=False))
    except (OSError, NightlabError):
        pass
    for folder in lab.judged_dirs(record.key):
        paths = [(label, folder / reset_file(label)) for label in record.reset.frames]
        found = [(label, path.read_bytes()) for label, path in paths if path.is_file()]
        if found:
            return found
    return []


def last_of_each_camera(stored: StoredEvidence) -> list[bytes]:
    """The last judged frame of each camera, in the order in which the cameras first come."""
    cameras = stored.cameras or [""] * len(stored.frames_png)
    return list(dict(zip(cameras, stored.frames_png, strict=False)).values())


def side_by_side(pngs: Sequence[bytes], size_px: int = FRAME_PX) -> bytes:
    """PNGs as one smaller JPEG, from left to right; all as high as the first."""
    from PIL import Image

    shown = [Image.open(io.BytesIO(small_jpeg(png, size_px))).convert("RGB") for png in pngs]
    high = shown[0].height
    shown = [one.resize((round(one.width * high / one.height), high)) if one.height != high else one for one in shown]
    row = Image.new("RGB", (sum(one.width for one in shown), high))
    at = 0
    for one in shown:
        row.paste(one, (at, 0))
        at += one.width
    out = io.BytesIO()
    row.save(out, "JPEG", quality=82)
    return out.getvalue()


def small_jpeg(png: bytes, size_px: int = FRAME_PX) -> bytes:
    """A PNG as a smaller JPEG."""
    from PIL import Image

    with Image.open(io.BytesIO(png)) as picture:
        rgb = picture.convert("RGB")
        rgb.thumbnail((size_px, size_px))
        out = io.BytesIO()
        rgb.save(out, "JPEG", quality=82)
    return out.getvalue()


def first_episode(path: Path, dataset: Path) -> bytes:
    """The first episode of a film that holds several, copied without encoding; empty if unreadable."""
    import av

    until_s = _first_ends_s(dataset)
    out = io.BytesIO()
    try:
        with av.open(str(path)) as source, av.open(out, "w", format="mp4") as target:
            video = source.streams.video[0]
            copy = target.add_stream_from_template(video)
            for packet in source.demux(video):
                if packet.dts is None or (until_s is not None and float(packet.pts * packet.time_base) >= until_s):
                    continue
                packet.stream = copy
                target.mux(packet)
    except (OSError, ValueError, IndexError, av.error.FFmpegError):
        return b""
    return out.getvalue()


def _first_ends_s(dataset: Path) -> float | None:
    """Where the first episode of a dataset's film ends, from its metadata; None if they do not say."""
    import pyarrow.parquet as pq

    for path in sorted(dataset.glob("meta/episodes/**/*.parquet")):
        columns = [name for name in pq.read_schema(path).names if name.endswith("/to_timestamp")]
        if columns:
            values = pq.read_table(path, columns=columns[:1]).column(0).to_pylist()
            return float(values[0]) if values else None
    return None


def _iterations(state: CampaignState, idea: str) -> Iterator[str]:
    """Iterations that ran an idea, the held-out ones first, its own trial next."""
    works = [work.work for work in state.works.values()]
    yield from (work.iteration for work in works if work.idea == idea and work.pool is SeedPool.HELD_OUT)
    yield idea
    yield from (work.iteration for work in works if work.idea == idea and work.pool is not SeedPool.HELD_OUT)


def _worth_seeing(state: CampaignState, episodes: Sequence[EpisodeRecord]) -> list[EpisodeRecord]:
    """Failed episodes in the order of interest."""
    order = [state.best, *reversed([name for name in state.kept if name != state.best])]
    failed = [e for e in episodes if e.verdict.outcome is Outcome.FAILURE and e.key.idea in order]
    failed.sort(key=lambda e: (order.index(e.key.idea), e.key.pool is not SeedPool.HELD_OUT, -e.rollout_end.wall_s))
    firsts: list[EpisodeRecord] = []
    rest: list[EpisodeRecord] = []
    seen: set[tuple[str, str]] = set()
    for episode in failed:
        kind = (episode.key.idea, episode.verdict.reason)
        (rest if kind in seen else firsts).append(episode)
        seen.add(kind)
    best = [e for e in (*firsts, *rest) if e.key.idea == state.best]
    return [*best, *(e for e in (*firsts, *rest) if e.key.idea != state.best)]


def _url(kind: str, blob: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(blob).decode()}"
