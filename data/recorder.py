"""The recorder: turns spooled episodes into shards and versions them, beside the keeper and at the lowest priority.

    python -m data.recorder --lab LAB --ready-file FILE

Asks the keeper for ended iterations. A shard is built in `rollouts/.build` and renamed, so what is there always loads.
A recorder that is killed is started again and begins the iteration anew from the spool, which the keeper empties only
when the shard is versioned.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import resource
import shutil
import signal
import sqlite3
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from data import layouts
from data.disk import is_full
from data.episodes import EpisodeArrays, unpack, write_atomic
from data.film import write_film
from data.judged import reset_file, write_judged
from data.keeper_client import SyncKeeperClient
from data.lab import Lab
from data.shard import VIDEO_PATH, write_dataset
from data.spool import Spool
from data.versions import Versions
from nightlab.errors import LabError, NightlabError, ServiceError
from nightlab.heartbeat import beat_in_thread
from nightlab.priority import yield_processor
from nightlab.records import EpisodeRecord, Outcome

FULL_S = 2.0
"""Pause before what a full disk refused is tried again, wall seconds."""
WAIT_S = 10.0
"""How long one question for work stays open at the keeper."""
FAILURES_SEEN = 3
"""Failures per iteration that are worth a film."""
LISTING = "episodes.jsonl"
"""Beside each dataset: one line per episode in the dataset's order, the whole EpisodeRecord."""

Episode = tuple[EpisodeRecord, EpisodeArrays]


class Recorder:
    """Builds shards of one lab."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.spool = Spool(lab.spool_dir)
        self.versions = Versions(lab.path)
        self.build = lab.rollouts_dir / ".build"
        shutil.rmtree(self.build, ignore_errors=True)

    def record(self, jobs: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """Build and version the shards of ended iterations; one result per job, as the keeper's `recorded` takes it."""
        begin_s = time.process_time()
        results = [self.shards(job) for job in jobs]
        targets: list[list[str]] = []
        for job in jobs:
            folders = (self.lab.rollouts_dir, self.lab.checkpoints_dir)
            found = [folder / job["iteration"] for folder in folders]
            targets.append([f"{path.parent.name}/{path.name}" for path in found if path.is_dir()])
        self.versions.add([target for some in targets for target in some])
        share_s = (time.process_time() - begin_s) / max(1, len(jobs))
        for result, some in zip(results, targets, strict=True):
            result["dvc"] = [f"{target}.dvc" for target in some]
            result["cpu_s"] = round(share_s, 4)
        return results

    def shards(self, job: dict[str, Any]) -> dict[str, Any]:
        """Build what is missing of one iteration's shards."""
        campaign, iteration = job["campaign"], job["iteration"]
        result: dict[str, Any] = {"roots": [], "videos": [], "names": [], "episodes": 0, "frames": 0}
        loaded: dict[str, list[Episode]] = {}
        recorded = self._recorded(iteration)
        for path in self.spool.of(campaign, iteration):
            name = path.name.removesuffix(".episode")
            result["names"].append(name)
            if name in recorded:
                continue
            try:
                episode = unpack(path.read_bytes(), path.name)
            except LabError as error:
                print(f"recorder: {error}", file=sys.stderr, flush=True)
                path.rename(self.spool.torn / path.name)
                continue
            loaded.setdefault(episode[0].key.station, []).append(episode)
        seen = FilmPicker(job.get("candidate", ""))
        for station, episodes in sorted(loaded.items()):
            episodes.sort(key=lambda episode: episode[0].rollout_end.wall_s)
            root = self._free(iteration, station)
            films = seen.pick(episodes)
            video = root.with_name(f"{root.name}-video")
            if video.exists():  # killed after the video's rename and before the shard's: nothing refers to it yet
                shutil.rmtree(video)
            if films:
                self._write_video(video, films)
            result["frames"] += self._write(root, episodes)
        for root in sorted((self.lab.rollouts_dir / iteration).glob("*")):
            if (root / "meta").is_dir():
                kind = "videos" if root.name.endswith("-video") else "roots"
                result[kind].append(str(root.relative_to(self.lab.path)))
        result["episodes"] = sum(len(episodes) for episodes in loaded.values())
        return result

    def _recorded(self, iteration: str) -> set[str]:
        """Episodes that stand in a shard already (the recorder or keeper was killed after the rename)."""
        found: set[str] = set()
        for listing in (self.lab.rollouts_dir / iteration).glob(f"*/{LISTING}"):
            if not listing.parent.name.endswith("-video"):
                records = (EpisodeRecord.model_validate_json(line) for line in listing.read_text().splitlines())
                found |= {record.key.text() for record in records}
        return found

    def _free(self, iteration: str, station: str) -> Path:
        """Root of the next shard: `<station>`, or `<station>.2` for episodes that came after the first was closed."""
        folder = self.lab.rollouts_dir / iteration
        number = 1
        while _taken(folder, _numbered(station, number)):
            number += 1
        return folder / _numbered(station, number)

    def _write(self, root: Path, episodes: Sequence[Episode]) -> int:
        """One station's shard, with the judged frames of every episode beside it. Returns its frames."""
        moving = [episode for episode in episodes if len(episode[1])]
        still = [episode for episode in episodes if not len(episode[1])]
        target = root if moving else root.with_name(f"{root.name}-still")
        partial = self._partial(target)
        frames = 0
        if moving:
            record, arrays = moving[0]
            frames = write_dataset(
                partial,
                layouts.features(record, arrays),
                [layouts.columns(*episode) for episode in moving],
                fps=layouts.rate_hz(record, arrays),
                robot_type=record.environment,
                task=layouts.sentence(record.environment),
            )
        for record, arrays in episodes:
            folder = partial / "judged" / record.key.text()
            folder.mkdir(parents=True)
            write_judged(folder, arrays.stored())
            for label, jpeg in zip(record.reset.frames, arrays.reset_jpeg, strict=False):
                (folder / reset_file(label)).write_bytes(jpeg)
        _list(partial, [*moving, *still])
        self._publish(partial, target)
        return frames

    def _write_video(self, root: Path, episodes: Sequence[Episode]) -> None:
        """A second dataset with pictures: the row of a picture is the first one that sees the filmed state."""
        partial = self._partial(root)
        rows = [film_rows(arrays) for _, arrays in episodes]
        films = [arrays.film_jpeg[: len(kept)] for (_, arrays), kept in zip(episodes, rows, strict=True)]
        record, arrays = episodes[0]
        steps = arrays.film_steps
        every = max(1, round((steps[-1] - steps[0]) / max(1, len(steps) - 1)))
        fps = max(1, round(layouts.rate_hz(record, arrays) / every))
        key = layouts.film_key(record.environment)
        path = partial / VIDEO_PATH.format(video_key=key, chunk_index=0, file_index=0)
        track = write_film(path, films, fps, key)
        write_dataset(
            partial,
            layouts.features(record, arrays),
            [layouts.columns(*episode, rows=kept) for episode, kept in zip(episodes, rows, strict=True)],
            fps=fps,
            robot_type=record.environment,
            task=layouts.sentence(record.environment),
            video=track,
        )
        _list(partial, episodes)
        self._publish(partial, root)

    def _partial(self, root: Path) -> Path:
        partial = self.build / root.parent.name / root.name
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        return partial

    def _publish(self, partial: Path, root: Path) -> None:
        """Sync what was built and rename it to where it belongs."""
        for path in partial.rglob("*"):
            if path.is_file():
                _sync(path)
        root.parent.mkdir(parents=True, exist_ok=True)
        partial.rename(root)
        _sync(root.parent)


class FilmPicker:
    """The episodes worth seeing: the candidate's first success and three failures, unlike ones first."""

    def __init__(self, candidate: str) -> None:
        self.candidate = candidate
        self._success = False
        self._failures = 0

    def pick(self, episodes: Sequence[Episode]) -> list[Episode]:
        """The picked ones, success first; only filmed episodes with at least two pictures."""
        filmed = [(record, arrays) for record, arrays in episodes if len(film_rows(arrays)) > 1]
        own = [episode for episode in filmed if episode[0].key.idea == self.candidate] or filmed
        picked: list[Episode] = []
        good = [episode for episode in own if episode[0].verdict.outcome is Outcome.SUCCESS]
        if good and not self._success:
            picked.append(good[0])
            self._success = True
        bad = [episode for episode in own if episode[0].verdict.outcome is Outcome.FAILURE]
        reasons: dict[str, int] = {}
        ranked = []
        for episode in bad:
            reason = episode[0].verdict.reason
            ranked.append((reasons.get(reason, 0), episode))
            reasons[reason] = reasons.get(reason, 0) + 1
        ranked.sort(key=lambda pair: pair[0])
        chosen = [episode for _, episode in ranked[: FAILURES_SEEN - self._failures]]
        self._failures += len(chosen)
        return picked + chosen


def film_rows(arrays: EpisodeArrays) -> list[int]:
    """The rows that the filmed pictures belong to: each shows the state after its step, which the next row sees."""
    return [step + 1 for step in arrays.film_steps if step + 1 < len(arrays)]


def _numbered(station: str, number: int) -> str:
    return station if number == 1 else f"{station}.{number}"


def _taken(folder: Path, name: str) -> bool:
    return (folder / name).exists() or (folder / f"{name}-still").exists()


def _list(root: Path, episodes: Sequence[Episode]) -> None:
    (root / LISTING).write_text("".join(record.model_dump_json() + "\n" for record, _ in episodes))


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def run(lab: Lab, ready_file: Path | None) -> None:
    """Serve until SIGTERM. A keeper that is away is waited for."""
    signals = _Signals()
    recorder = Recorder(lab)
    client = SyncKeeperClient(lab.keeper_socket, retry_s=2.0)
    if ready_file is not None:
        write_atomic(ready_file, json.dumps({"pid": os.getpid()}).encode(), sync=False)
    while not signals.stopping:
        try:
            with signals.interruptible():
                reply = client.call("next_jobs", wait_s=WAIT_S)
            for jobs in _batches(reply["jobs"], signals.failed):
                _work(recorder, client, jobs)
                signals.failed = False
            if reply["status"]:
                status = recorder.versions.status()
                client.call("dvc_status", status=json.loads(json.dumps(status, default=str)))
        except ServiceError:
            continue
        except (LabError, OSError, sqlite3.Error, ValueError, KeyError) as error:
            full = is_full(error)
            with contextlib.suppress(OSError):  # the log lies on the same disk
                print(f"recorder: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
            signals.failed = not full
            if full:
                shutil.rmtree(recorder.build, ignore_errors=True)
            if not signals.stopping:
                time.sleep(FULL_S if full else 0.5)
    client.close()


def _batches(jobs: list[dict[str, Any]], failed: bool) -> list[list[dict[str, Any]]]:
    """All jobs at once; one by one in turning order after a failure, so that a bad one does not hold up the others."""
    if not failed:
        return [jobs] if jobs else []
    random.shuffle(jobs)
    return [[job] for job in jobs]


def _work(recorder: Recorder, client: SyncKeeperClient, jobs: list[dict[str, Any]]) -> None:
    for job, result in zip(jobs, recorder.record(jobs), strict=True):
        name = {key: job[key] for key in ("campaign", "iteration", "through")}
        client.call("recorded", **name, result=result)


class _Signals:
    """SIGTERM ends the recorder at once while it waits, and after the present batch while it works."""

    def __init__(self) -> None:
        self.stopping = False
        self.failed = False
        self._waiting = False
        for name in (signal.SIGTERM, signal.SIGINT):
            signal.signal(name, self._stop)

    @contextlib.contextmanager
    def interruptible(self) -> Iterator[None]:
        self._waiting = True
        try:
            yield
        finally:
            self._waiting = False

    def _stop(self, *_: object) -> None:
        self.stopping = True
        if self._waiting:
            raise SystemExit(0)


def main() -> int:
    """Command line of the process."""
    parser = argparse.ArgumentParser(description="Turns spooled episodes into datasets.")
    parser.add_argument("--lab", type=Path, required=True)
    parser.add_argument("--ready-file", type=Path)
    parser.add_argument("--heartbeat-file", type=Path, help="touched every second while the recorder is not stopped")
    options = parser.parse_args()
    os.environ["HF_HUB_OFFLINE"] = "1"
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    yield_processor()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    beat_in_thread(options.heartbeat_file)
    try:
        run(Lab.open(options.lab), options.ready_file)
    except NightlabError as error:
        print(f"recorder: {error}", file=sys.stderr, flush=True)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
