"""Clients of the keeper. Calls are idempotent: one that was cut off by the keeper's restart is simply made again."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import time
import uuid
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data.episodes import EpisodeArrays, pack
from nightlab import errors
from nightlab.errors import DiskFullError, NightlabError, ServiceError, UsageError
from nightlab.framing import MAX_FRAME_BYTES, FramingError, read_frame, recv, send, write_frame
from nightlab.processes import ProcessId
from nightlab.records import (
    CampaignSpec,
    Checkpoint,
    EpisodeRecord,
    Event,
    Idea,
    IterationStatus,
    Judgement,
    Proposal,
    SeedPool,
    Work,
)

if TYPE_CHECKING:
    from data.schedule import TrialPlan

RETRY_S = 30.0
"""How long a call waits for a keeper that went away (the supervisor restarts it within seconds)."""
FULL_LOOK_S = 1.0
"""Pause before a call that a full disk refused is made again. A campaign's own calls wait for space without end."""
STATION_POLL_S = 5.0
"""How long one question for a free robot waits; between two of them the trial hears whether it is still wanted."""
_BROKEN = (OSError, EOFError, FramingError)


def _blob(record: EpisodeRecord, arrays: EpisodeArrays) -> bytes:
    """The packed episode; without its film where that is too long for one frame."""
    blob = pack(record, arrays)
    if len(blob) > MAX_FRAME_BYTES - 4096:
        blob = pack(record.model_copy(update={"filmed": False}), replace(arrays, film_jpeg=[], film_steps=[]))
    if len(blob) > MAX_FRAME_BYTES - 4096:
        raise UsageError(
            f"episode {record.key.text()} has {len(blob)} bytes; one holds {MAX_FRAME_BYTES}. Take smaller frames"
        )
    return blob


def _result(reply: Any) -> Any:
    if "error" in reply:
        kind = getattr(errors, str(reply.get("kind")), ServiceError)
        raise (kind if isinstance(kind, type) and issubclass(kind, NightlabError) else ServiceError)(reply["error"])
    return reply["result"]


def _gone(path: Path, wait_s: float, error: BaseException) -> ServiceError:
    return ServiceError(
        f"the keeper at {path} has not answered for {wait_s:g} s ({error}). "
        f"Start it with: nightlab up --lab {path.parent.parent}"
    )


class KeeperClient:
    """Asynchronous client; as many calls at once as you like, each on a connection of its own."""

    def __init__(self, socket_path: Path, *, retry_s: float = RETRY_S, full_s: float = RETRY_S) -> None:
        self.socket_path = socket_path
        self.retry_s, self.full_s = retry_s, full_s
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
        me = ProcessId.of(os.getpid())
        self._holder = f"{me.pid}.{me.start_ticks}"

    async def close(self) -> None:
        """Close all connections."""
        while self._idle:
            _, writer = self._idle.pop()
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def __aenter__(self) -> KeeperClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def call(self, call: str, **parameters: Any) -> Any:
        """Make one call, again and again for up to `retry_s` while the keeper does not answer, `full_s` on a full disk.

        Raises:
            ServiceError: nobody answered. NightlabError: what the keeper answered.
        """
        failing_s, full_s, pause_s = 0.0, 0.0, 0.02  # since when nobody answers, since when the disk is full
        while True:
            try:
                return _result(await self._once({"call": call, "with": parameters}))
            except DiskFullError:
                full_s = full_s or time.monotonic()
                if time.monotonic() > full_s + self.full_s:
                    raise
                await asyncio.sleep(FULL_LOOK_S)
            except _BROKEN as error:
                failing_s = failing_s or time.monotonic()
                if time.monotonic() > failing_s + self.retry_s:
                    raise _gone(self.socket_path, self.retry_s, error) from error
                await asyncio.sleep(pause_s)
                pause_s = min(0.5, 2 * pause_s)

    async def _once(self, request: dict[str, Any]) -> Any:
        if self._idle:
            reader, writer = self._idle.pop()
        else:
            reader, writer = await asyncio.open_unix_connection(self.socket_path, limit=1 << 20)
        try:
            await write_frame(writer, request)
            reply = await read_frame(reader)
        except BaseException:
            writer.close()
            raise
        self._idle.append((reader, writer))
        return reply

    # Ledger and episodes -----------------------------------------------------------------------------------------

    async def append(self, event: Event) -> int:
        """Append an event; returns its `seq`, also if it was there already."""
        return int(await self.call("append", event=event.model_dump(mode="json")))

    async def put_episode(self, record: EpisodeRecord, arrays: EpisodeArrays) -> bool:
        """Make an episode durable and note it in the ledger; False if it was there already."""
        blob = await asyncio.to_thread(_blob, record, arrays)
        return bool(await self.call("put_episode", blob=blob))

    # Campaigns and work ------------------------------------------------------------------------------------------

    async def start_campaign(self, spec: CampaignSpec) -> CampaignSpec:
        """Start a campaign and commit its baseline; a spec that names a campaign of the lab returns that one's spec."""
        answer = await self.call("start_campaign", spec=spec.model_dump(mode="json"), request=uuid.uuid4().hex)
        return CampaignSpec.model_validate(answer)

    async def claim(self, campaign: str, station: str) -> Work:
        """The station's next work. Work whose claiming process is dead is handed out again first."""
        answer = await self.call(
            "claim", campaign=campaign, station=station, holder=self._holder, request=uuid.uuid4().hex
        )
        return Work.model_validate(answer)

    async def trial_plan(self, campaign: str, iteration: str, idea: str, station: str = "") -> TrialPlan:
        """What the paired trial of an idea runs; `station`: where."""
        from data.schedule import TrialPlan

        return TrialPlan.model_validate(
            await self.call("trial_plan", campaign=campaign, iteration=iteration, idea=idea, station=station)
        )

    async def await_station(self, campaign: str, iteration: str, stations: Sequence[str]) -> tuple[str, str]:
        """Wait for a free robot: (its station, ""), or ("", why the trial is no longer wanted)."""
        while True:
            answer = await self.call(
                "await_station", campaign=campaign, iteration=iteration, stations=list(stations), wait_s=STATION_POLL_S
            )
            if answer["station"] or answer["stop"]:
                return str(answer["station"]), str(answer["stop"])

    async def leave_station(self, campaign: str, iteration: str) -> None:
        """Give a robot back to the dispatcher; the lease is the station's own affair."""
        await self.call("leave_station", campaign=campaign, iteration=iteration)

    async def next_episode(self, campaign: str, iteration: str, station: str) -> dict[str, Any]:
        """Before each episode: `stop` (why to stop), `parked` (why the station waits for a person), `give_way` (filler)."""
        return dict(await self.call("next_episode", campaign=campaign, iteration=iteration, station=station))

    async def stop_trial(self, campaign: str, iteration: str) -> str:
        """Why a trial should stop before its next episode (solved, futile, out of budget); empty to go on."""
        return str(await self.call("stop_trial", campaign=campaign, iteration=iteration))

    async def draw(self, campaign: str, iteration: str, pool: SeedPool, n: int, purpose: str) -> tuple[int, ...]:
        """`n` fresh seeds; asked again with the same words, the same seeds."""
        answer = await self.call("draw", campaign=campaign, iteration=iteration, pool=pool.value, n=n, purpose=purpose)
        return tuple(answer)

    async def finished(self, iteration: str, idea: str) -> set[tuple[SeedPool, int]]:
        """Pool and seed of the scored episodes that this iteration already has of `idea`."""
        answer = await self.call("finished", iteration=iteration, idea=idea)
        return {(SeedPool(pool), int(seed)) for pool, seed in answer}

    async def judge(self, campaign: str, iteration: str) -> Judgement:
        """Decide about an iteration's idea, once; a KEEP moves the researcher's branch."""
        return Judgement.model_validate(await self.call("judge", campaign=campaign, iteration=iteration))

    async def end_iteration(
        self, campaign: str, iteration: str, status: IterationStatus, detail: str = "", station: str = ""
    ) -> None:
        """Note the end; shard, DVC and the record's commit follow in the background (see `flush`).

        Give `station` for an iteration that several stations share (the baseline).
        """
        await self.call(
            "end_iteration", campaign=campaign, iteration=iteration, status=status.value, detail=detail, station=station
        )

    async def start_replay(self, campaign: str, iteration: str, station: str, from_stage: str) -> Work:
        """A new iteration `I17.r1` on the seeds that `I17` ran; it enters no decision."""
        answer = await self.call(
            "start_replay", campaign=campaign, iteration=iteration, station=station, from_stage=from_stage,
            request=uuid.uuid4().hex,
        )  # fmt: skip
        return Work.model_validate(answer)

    # Ideas -------------------------------------------------------------------------------------------------------

    async def open_workspace(self, iteration: str, parent: str) -> Path:
        """A fresh copy of the parent idea's files; no repository inside."""
        return Path(await self.call("open_workspace", iteration=iteration, parent=parent))

    async def commit_idea(
        self, campaign: str, iteration: str, proposal: Proposal, workspace: Path, *, parent: str = ""
    ) -> Idea:
        """Commit a workspace as the idea `iteration`. Its parent is the one that the work was claimed with.

        Raises:
            UsageError: the workspace holds links, oversized files or files that researchers don't edit.
        """
        answer = await self.call(
            "commit_idea", campaign=campaign, iteration=iteration, proposal=proposal.model_dump(mode="json"),
            workspace=str(workspace), parent=parent,
        )  # fmt: skip
        return Idea.model_validate(answer)

    async def commit_mended(self, campaign: str, iteration: str, origin: str, edit: Path) -> Idea:
        """Commit the idea `origin` with the files in `edit` laid over it, as the idea `iteration` of a person."""
        answer = await self.call(
            "commit_mended", campaign=campaign, iteration=iteration, origin=origin, edit=str(edit.resolve())
        )
        return Idea.model_validate(answer)

    async def export_idea(self, idea: str) -> Path:
        """A read-only copy of an idea's files, made once."""
        return Path(await self.call("export_idea", idea=idea))

    async def policy_files(self, idea: str) -> dict[str, Any]:
        """Where an idea's code and latest checkpoint lie: idea, code_dir, checkpoint_dir, sha256."""
        return dict(await self.call("policy_files", idea=idea))

    async def add_checkpoint(self, campaign: str, iteration: str, idea: str, checkpoint: Checkpoint) -> None:
        """Note an idea's checkpoint; its folder is versioned with the iteration's shard."""
        await self.call(
            "add_checkpoint",
            campaign=campaign,
            iteration=iteration,
            idea=idea,
            checkpoint=checkpoint.model_dump(mode="json"),
        )

    # Archive -----------------------------------------------------------------------------------------------------

    async def flush(self, timeout_s: float = 600.0) -> dict[str, Any]:
        """Wait until all that ended is recorded, versioned and committed, and git and DVC are clean.

        Raises:
            ServiceError: it took too long. LabError: tracked files were changed by somebody.
        """
        return dict(await self.call("flush", timeout_s=timeout_s))


class SyncKeeperClient:
    """Blocking client with one connection, for the recorder and for scripts."""

    def __init__(self, socket_path: Path, *, retry_s: float = RETRY_S) -> None:
        self.socket_path = socket_path
        self.retry_s = retry_s
        self._socket: socket.socket | None = None

    def close(self) -> None:
        """Close the connection."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def __enter__(self) -> SyncKeeperClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def call(self, call: str, **parameters: Any) -> Any:
        """As `KeeperClient.call`."""
        failing_s, pause_s = 0.0, 0.02  # since when nobody answers
        while True:
            try:
                if self._socket is None:
                    self._socket = socket.socket(socket.AF_UNIX)
                    self._socket.connect(str(self.socket_path))
                send(self._socket, {"call": call, "with": parameters})
                reply = recv(self._socket)
            except _BROKEN as error:
                self.close()
                failing_s = failing_s or time.monotonic()
                if time.monotonic() > failing_s + self.retry_s:
                    raise _gone(self.socket_path, self.retry_s, error) from error
                time.sleep(pause_s)
                pause_s = min(0.5, 2 * pause_s)
            else:
                return _result(reply)

    def append(self, event: Event) -> int:
        """Append an event; returns its `seq`."""
        return int(self.call("append", event=event.model_dump(mode="json")))

    def put_episode(self, record: EpisodeRecord, arrays: EpisodeArrays) -> bool:
        """Make an episode durable and note it in the ledger; False if it was there already."""
        return bool(self.call("put_episode", blob=_blob(record, arrays)))

    def append_many(self, events: Sequence[Event]) -> list[int]:
        """Append events in order."""
        return [self.append(event) for event in events]
