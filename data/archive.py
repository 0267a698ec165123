"""From ended iterations to clean repositories: hands shards to the recorder, then commits records and DVC pointers.

What is left to do is derived from the ledger (`iteration_ended` without a later `shard`) and from git (a record that
is not committed), so keeper and recorder may be killed at any point and go on.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from data.desk import Desk
from data.disk import is_full
from data.lab import EDITABLE, Lab
from data.lab_git import LabGit
from data.record_file import RecordFile, make_record
from data.spool import Spool
from nightlab.errors import LabError, NightlabError, ServiceError
from nightlab.records import Event

JOBS = 16
"""Iterations that the recorder is handed at once."""
FULL_S = 2.0
"""Pause before a commit that a full disk refused is tried again, wall seconds."""
TRIES = 3
"""How often a commit is tried before it waits for the next flush."""

Name = tuple[str, str]
"""(campaign, iteration)"""


class Archive:
    """The queue behind the keeper. Lives in the keeper's event loop; git runs on one thread of its own."""

    def __init__(self, lab: Lab, desk: Desk, spool: Spool, git: LabGit) -> None:
        self.lab, self.desk, self.spool, self.git = lab, desk, spool, git
        self.pending: dict[Name, int] = {}
        """Iterations without a shard, oldest first → `seq` of the event that ended them."""
        self.uncommitted: dict[Name, int] = {}
        """Iterations whose record is not committed → tries so far."""
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="lab-git")
        self._work = asyncio.Event()
        self._commit = asyncio.Event()
        self._idle = asyncio.Event()
        self._status: asyncio.Future[dict[str, Any]] | None = None
        self._last_error = ""
        self.recorder_seen_s = 0.0
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Find out what a former keeper left undone, and begin to work."""
        shards: dict[Name, int] = {}
        for event in self.desk.ledger.events(kind="shard"):
            shards[event.campaign, event.iteration] = int(event.data["through"])
        for event in self.desk.ledger.events(kind="iteration_ended"):
            if shards.get((event.campaign, event.iteration), 0) < event.seq:
                self.pending[event.campaign, event.iteration] = event.seq
        tracked = await self._in_thread(self.git.tracked, "records")
        for number, name in enumerate(reversed(shards)):
            if number < 4 or f"records/{name[1]}.json" not in tracked:
                self.uncommitted[name] = 0
        self._task = asyncio.create_task(self._commits())
        self._work.set()
        self._commit.set()

    async def stop(self) -> None:
        """Finish the commit that is being made and stop."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await asyncio.to_thread(self._thread.shutdown)

    def ended(self, event: Event) -> None:
        """Take note of an `iteration_ended` event."""
        self.pending[event.campaign, event.iteration] = event.seq
        self._work.set()

    # What the recorder asks --------------------------------------------------------------------------------------

    async def next_jobs(self, wait_s: float) -> dict[str, Any]:
        """The next work of the recorder, waiting up to `wait_s` for some: `{"jobs": […], "status": bool}`."""
        self.recorder_seen_s = time.monotonic()
        if not self.pending and self._status is None:
            self._work.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._work.wait(), wait_s)
        self.recorder_seen_s = time.monotonic()
        jobs = [
            {
                "campaign": campaign,
                "iteration": iteration,
                "through": through,
                "candidate": iteration.split(".r")[0],
            }
            for (campaign, iteration), through in list(self.pending.items())[:JOBS]
        ]
        return {"jobs": jobs, "status": self._status is not None}

    def recorded(self, campaign: str, iteration: str, through: int, result: dict[str, Any]) -> None:
        """The recorder has built, versioned and synced an iteration's shards."""
        data = {
            "through": through,
            **{key: result[key] for key in ("roots", "episodes", "frames", "videos", "dvc", "cpu_s")},
        }
        self.desk.write(
            "shard", f"shard:{campaign}:{iteration}:{through}", data, campaign=campaign, iteration=iteration
        )
        self.spool.remove(result["names"])
        if self.pending.get((campaign, iteration), 0) <= through:
            self.pending.pop((campaign, iteration), None)
        self.uncommitted[campaign, iteration] = 0
        self._commit.set()

    def dvc_status(self, status: dict[str, Any]) -> None:
        """The recorder's answer to the question for `dvc status`."""
        if self._status is not None and not self._status.done():
            self._status.set_result(status)

    # Flush -------------------------------------------------------------------------------------------------------

    async def flush(self, timeout_s: float) -> dict[str, Any]:
        """Wait until everything that ended is in a shard, versioned and committed, and both repositories are clean.

        Raises:
            ServiceError: that took longer than `timeout_s`, or the recorder is not there.
            LabError: everything is done, but git or DVC still sees a change.
        """
        deadline_s = time.monotonic() + timeout_s
        self._sweep()
        while self.pending or self.uncommitted:
            self._idle.clear()
            self._work.set()
            self._commit.set()
            left_s = deadline_s - time.monotonic()
            if left_s <= 0:
                raise ServiceError(self._late(timeout_s))
            try:
                await asyncio.wait_for(self._idle.wait(), min(left_s, 0.25))
            except TimeoutError:
                continue
        await self._in_thread(self.git.commit_paths, ["lab.yaml"], "lab.yaml: the stations of the lab changed")
        status = await self._ask_status(deadline_s, timeout_s)
        changed = await self._in_thread(self.git.status)
        if changed or status:
            raise LabError(
                f"the lab {self.lab.path} is not clean after a flush: git says {changed.split() or 'clean'}, DVC says "
                f"{status or 'clean'}. Somebody changed tracked files; see: git -C {self.lab.path} status"
            )
        return {"git": changed, "dvc": status}

    def _sweep(self) -> None:
        """Also archive episodes that came after their iteration's shard, or whose iteration died with its campaign."""
        ended = {event.campaign for event in self.desk.ledger.events(kind="campaign_ended")}
        over = {(event.campaign, event.iteration) for event in self.desk.ledger.events(kind="iteration_ended")}
        for name in sorted(self.spool.iterations()):
            if name not in self.pending and (name[0] in ended or name in over):
                self.pending[name] = self.desk.ledger.last_seq()

    async def _ask_status(self, deadline_s: float, timeout_s: float) -> dict[str, Any]:
        if self._status is None:
            self._status = asyncio.get_running_loop().create_future()
        self._work.set()
        try:
            return await asyncio.wait_for(asyncio.shield(self._status), max(0.1, deadline_s - time.monotonic()))
        except TimeoutError:
            raise ServiceError(self._late(timeout_s)) from None
        finally:
            self._status = None

    def _late(self, timeout_s: float) -> str:
        seen = self.recorder_seen_s
        recorder = f"last asked for work {time.monotonic() - seen:.0f} s ago" if seen else "never asked for work"
        return (
            f"flush of {self.lab.path} took longer than {timeout_s:g} s: {len(self.pending)} iterations wait for the "
            f"recorder (which {recorder}), {len(self.uncommitted)} for git{self._last_error}. "
            f"See: nightlab status, run/logs/recorder.log"
        )

    # Commits -----------------------------------------------------------------------------------------------------

    async def _commits(self) -> None:
        while True:
            await self._commit.wait()
            self._commit.clear()
            for name, tries in list(self.uncommitted.items()):
                if tries >= TRIES and not self._idle_wanted:
                    continue
                try:
                    await self._in_thread(self._write, name)
                    self.uncommitted.pop(name, None)
                except (NightlabError, OSError, sqlite3.Error) as error:
                    full = is_full(error)
                    self.uncommitted[name] = tries if full else tries + 1
                    self._last_error = f" (latest: {error})"
                    with contextlib.suppress(OSError):
                        print(f"keeper: record of {name[1]}: {error}", file=sys.stderr, flush=True)
                    await asyncio.sleep(FULL_S if full else 0.2)
                    self._commit.set()
            if not self.pending and not self.uncommitted:
                self._idle.set()

    @property
    def _idle_wanted(self) -> bool:
        return not self._idle.is_set()

    def _write(self, name: Name) -> None:
        """Write and commit one record. Runs on the git thread."""
        campaign, iteration = name
        events = [e for e in self.desk.ledger.events(iteration=iteration) if e.campaign == campaign]
        record = self._record(iteration, events)
        path = self.lab.records_dir / f"{iteration}.json"
        path.write_text(record.text)
        paths = [f"records/{iteration}.json"]
        paths += sorted({pointer for e in events if e.kind == "shard" for pointer in e.data["dvc"]})
        merge = self._merge(record.kept, paths) if record.kept else ""
        self.git.commit_paths(paths, record.message, merge=merge)

    def _record(self, iteration: str, events: list[Event]) -> RecordFile:
        worked = next((e.data["idea"] for e in events if e.kind == "work_claimed" and e.data["idea"]), iteration)
        committed = self.desk.ledger.events(kind="idea_committed")
        idea = next((e.data for e in committed if e.data["idea"] == worked), None)
        baseline = idea is not None and idea["parent"] is None and worked == iteration
        return make_record(iteration, events, idea=idea, baseline=baseline)

    def _merge(self, idea: str, paths: list[str]) -> str:
        """Bring a kept idea's files into the working tree; its commit, unless branch `lab` has it already."""
        commit = self.git.resolve(f"refs/ideas/{idea}")
        if commit is None or self.git.merged(commit):
            return ""
        for folder in sorted(self.lab.research_dir.iterdir()):
            for name, content in self.git.files(commit, f"research/{folder.name}").items():
                if name in EDITABLE:
                    (folder / name).write_bytes(content)
                    paths.append(f"research/{folder.name}/{name}")
        return commit

    async def _in_thread(self, function: Any, *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._thread, function, *arguments)
