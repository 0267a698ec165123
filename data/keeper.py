"""The keeper: the single writer of a lab's ledger, git and records, behind a Unix socket.

    python -m data.keeper --lab LAB --ready-file FILE

Everything on the robot's path (append, put_episode, claim, draw) is answered in the event loop within milliseconds; git
runs on threads, shards and DVC in the recorder process. Every call can be made again after a crash: see data/README.md.
"""

from __future__ import annotations

import argparse
import asyncio
import fcntl
import json
import os
import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import yaml

from data import episodes
from data.archive import Archive
from data.desk import Desk
from data.dispatch import FILLER, Dispatcher, Request
from data.ideas import IdeaStore, branch_of, read_workspace
from data.keeper_socket import Answer, Call, serve
from data.lab import Lab
from data.lab_git import LabGit
from data.spool import Spool
from nightlab.errors import LabError, NightlabError, UsageError
from nightlab.heartbeat import beating
from nightlab.records import (
    CampaignSpec,
    Checkpoint,
    Decision,
    Event,
    Idea,
    Proposal,
    ProposalStatus,
    SeedPool,
)


class Keeper:
    """The calls that clients may make. Parameters and answers are what msgpack carries."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.git = LabGit(lab.path)
        self.desk = Desk(lab)
        self.spool = Spool(lab.spool_dir)
        self.ideas = IdeaStore(lab, self.git)
        self.archive = Archive(lab, self.desk, self.spool, self.git)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="idea-git")
        self._starting = asyncio.Lock()
        self.dispatcher = Dispatcher(lambda campaign: self.desk.state(campaign).parked)
        self.calls: dict[str, Call] = {
            call.__name__: call
            for call in (
                self.ping, self.append, self.put_episode, self.start_campaign, self.claim, self.open_workspace,
                self.commit_idea, self.commit_mended, self.export_idea, self.policy_files, self.add_checkpoint,
                self.trial_plan, self.stop_trial, self.await_station, self.leave_station, self.next_episode,
                self.draw, self.finished, self.judge, self.end_iteration, self.start_replay, self.flush,
                self.next_jobs, self.recorded, self.dvc_status,
            )
        }  # fmt: skip

    async def start(self) -> int:
        """Recover from whatever happened to the last keeper; returns the number of adopted episodes."""
        await self._in_thread(self.git.mend)
        adopted = sum(self.desk.episode(record, recovered=True) for record in self.spool.adopt())
        await self.archive.start()
        return adopted

    async def stop(self) -> None:
        """Finish what is being written and close."""
        await self.archive.stop()
        await asyncio.to_thread(self._thread.shutdown)
        self.desk.ledger.close()

    # Ledger and episodes -----------------------------------------------------------------------------------------

    async def ping(self) -> Answer:
        return {"pid": os.getpid(), "lab": str(self.lab.path)}

    async def append(self, event: dict[str, Any]) -> Answer:
        read = Event.model_validate(event)
        seq, fresh = self.desk.append(read)
        if fresh and read.kind == "iteration_ended":
            self.archive.ended(read.model_copy(update={"seq": seq}))
        return seq

    async def put_episode(self, blob: bytes) -> Answer:
        record = episodes.read_record(blob)
        if self.desk.ledger.get(f"episode:{record.key.text()}") is not None:
            return False
        self.spool.put(record, blob)
        return self.desk.episode(record)

    # Campaigns and work ------------------------------------------------------------------------------------------

    async def start_campaign(self, spec: dict[str, Any], request: str) -> Answer:
        asked = CampaignSpec.model_validate(spec)
        async with self._starting:
            known = self.desk.specs()
            started = self.desk.ledger.get(f"campaign_started:{request}")
            name = started.campaign if started else asked.campaign
            if name not in known:
                name = name or self.desk.new_name()
                stations = self.lab.config.stations
                if asked.stations > len(stations):
                    raise UsageError(
                        f"a campaign at {asked.stations} stations: the lab has {len(stations)} "
                        f"({', '.join(station.station for station in stations)}). Ask for fewer, or declare more in "
                        f"{self.lab.config_path}"
                    )
                real = any(not station.simulated for station in stations)
                asked = asked.model_copy(update={"campaign": name, "real_stations": real})
                self.desk.write(
                    "campaign_started", f"campaign_started:{request}", asked.model_dump(mode="json"), campaign=name
                )
            await self._baseline(name)
        return self.desk.specs()[name].model_dump(mode="json")

    async def claim(self, campaign: str, station: str, holder: str, request: str) -> Answer:
        if not self.desk.state(campaign).kept:
            async with self._starting:
                await self._baseline(campaign)
        return self.desk.claim(campaign, station, holder, request).model_dump(mode="json")

    async def trial_plan(self, campaign: str, iteration: str, idea: str, station: str = "") -> Answer:
        return self.desk.trial_plan(campaign, iteration, idea, station).model_dump(mode="json")

    async def stop_trial(self, campaign: str, iteration: str) -> Answer:
        return self.desk.stop_trial(campaign, iteration)

    async def await_station(self, campaign: str, iteration: str, stations: list[str], wait_s: float) -> Answer:
        reason = self.desk.stop_trial(campaign, iteration)
        if reason:
            self.dispatcher.leave((campaign, iteration))
            return {"station": "", "stop": reason}
        request = Request((campaign, iteration), self.desk.rank(campaign, iteration), tuple(stations))
        station = await self.dispatcher.wait(request, min(wait_s, 30.0))
        if station:
            self.desk.dispatched(campaign, iteration, station)
        return {"station": station, "stop": ""}

    async def leave_station(self, campaign: str, iteration: str) -> Answer:
        self.dispatcher.leave((campaign, iteration))
        return True

    async def next_episode(self, campaign: str, iteration: str, station: str) -> Answer:
        self.dispatcher.holders.setdefault(station, (campaign, iteration))  # forgotten by a keeper that was restarted
        return {
            "stop": self.desk.stop_trial(campaign, iteration),
            "parked": self.desk.state(campaign).parked.get(station, ""),
            "give_way": self.desk.rank(campaign, iteration) == FILLER and self.dispatcher.wanted((campaign, iteration)),
        }

    async def draw(self, campaign: str, iteration: str, pool: str, n: int, purpose: str) -> Answer:
        return list(self.desk.draw(campaign, iteration, SeedPool(pool), n, purpose))

    async def finished(self, iteration: str, idea: str) -> Answer:
        return self.desk.finished(iteration, idea)

    async def start_replay(self, campaign: str, iteration: str, station: str, from_stage: str, request: str) -> Answer:
        return self.desk.replay(campaign, iteration, station, from_stage, request).model_dump(mode="json")

    async def judge(self, campaign: str, iteration: str) -> Answer:
        judgement, fresh = self.desk.judge(campaign, iteration)
        idea = self.desk.idea(iteration)
        if judgement.decision is Decision.KEEP and idea is not None and fresh:
            await self._in_thread(self.git.set_branch, idea.branch, idea.commit)
        return judgement.model_dump(mode="json")

    async def end_iteration(self, campaign: str, iteration: str, status: str, detail: str, station: str) -> Answer:
        fresh = self.desk.end_iteration(campaign, iteration, status, detail, station)
        if fresh:
            self.archive.ended(self.desk.ledger.events(kind="iteration_ended", iteration=iteration)[-1])
        return fresh

    # Ideas -------------------------------------------------------------------------------------------------------

    async def open_workspace(self, iteration: str, parent: str) -> Answer:
        environment = self._environment(parent)
        return str(await self._in_thread(self.ideas.open_workspace, iteration, parent, environment))

    async def commit_idea(
        self, campaign: str, iteration: str, proposal: dict[str, Any], workspace: str, parent: str
    ) -> Answer:
        known = self.desk.idea(iteration)
        if known is not None:
            return known.model_dump(mode="json")
        read = Proposal.model_validate(proposal)
        files = await self._in_thread(read_workspace, Path(workspace))
        works = self.desk.state(campaign).works.values()
        claimed = next((work.work.parent for work in works if work.work.iteration == iteration), "")
        parent = parent or claimed or (read.parents[0] if read.parents else "") or self.desk.state(campaign).incumbent
        return await self._commit(campaign, iteration, read, files, parent)

    async def commit_mended(self, campaign: str, iteration: str, origin: str, edit: str) -> Answer:
        known = self.desk.idea(iteration)
        if known is not None:
            return known.model_dump(mode="json")
        commit = await self._in_thread(self.ideas.commit_of, origin)
        files = await self._in_thread(self.git.files, commit, f"research/{self.desk.environment(campaign)}")
        files |= await self._in_thread(lambda: read_workspace(Path(edit), all_needed=False))
        proposal = Proposal(
            status=ProposalStatus.OK,
            researcher="person",
            hypothesis=f"{origin}, mended by hand",
            family="mended",
            parents=(origin,),
        )
        return await self._commit(campaign, iteration, proposal, files, origin)

    async def export_idea(self, idea: str) -> Answer:
        return str(await self._in_thread(self.ideas.export, idea, self._environment(idea)))

    async def policy_files(self, idea: str) -> Answer:
        checkpoint = self.desk.checkpoint(idea)
        return {
            "idea": idea,
            "code_dir": await self.export_idea(idea),
            "checkpoint_dir": str(self.lab.path / checkpoint.path),
            "sha256": checkpoint.sha256,
        }

    async def add_checkpoint(self, campaign: str, iteration: str, idea: str, checkpoint: dict[str, Any]) -> Answer:
        read = Checkpoint.model_validate(checkpoint)
        event_id = f"checkpoint:{campaign}:{iteration}:{read.sha256}"
        data = {"idea": idea, **read.model_dump(mode="json")}
        return self.desk.write("checkpoint", event_id, data, campaign=campaign, iteration=iteration)

    # Archive -----------------------------------------------------------------------------------------------------

    async def next_jobs(self, wait_s: float) -> Answer:
        return await self.archive.next_jobs(min(wait_s, 30.0))

    async def recorded(self, campaign: str, iteration: str, through: int, result: dict[str, Any]) -> Answer:
        self.archive.recorded(campaign, iteration, through, result)
        return True

    async def dvc_status(self, status: dict[str, Any]) -> Answer:
        self.archive.dvc_status(status)
        return True

    async def flush(self, timeout_s: float) -> Answer:
        return await self.archive.flush(timeout_s)

    # Helpers -----------------------------------------------------------------------------------------------------

    def _environment(self, idea: str) -> str:
        return self.desk.environment(self.desk.campaign_of(idea))

    async def _baseline(self, campaign: str) -> None:
        """Commit the campaign's first idea, the untouched template, unless that is done."""
        if self.desk.state(campaign).kept:
            return
        environment = self.desk.environment(campaign)
        first = await self._in_thread(self.ideas.first_commit)
        files = await self._in_thread(self.git.files, first, f"research/{environment}")
        proposal = Proposal(
            status=ProposalStatus.OK,
            researcher=self.desk.state(campaign).spec.researcher,
            hypothesis="The workspace template: where the search starts from",
            falsified_if="it is the baseline that everything else is compared with",
            family="template",
            params=_mapping(files.get("params.yaml", b"")),
        )
        idea = await self._commit(campaign, self.desk.next_idea(), proposal, files, None)
        await self._in_thread(self.git.set_branch, branch_of(proposal.researcher), idea["commit"])

    async def _commit(
        self, campaign: str, iteration: str, proposal: Proposal, files: dict[str, bytes], parent: str | None
    ) -> dict[str, Any]:
        environment = self.desk.environment(campaign)
        make = lambda: self.ideas.commit(iteration, proposal, files, parent=parent, environment=environment)  # noqa: E731
        idea: Idea = await self._in_thread(make)
        data = idea.model_dump(mode="json")
        self.desk.write("idea_committed", f"idea_committed:{iteration}", data, campaign=campaign, iteration=iteration)
        return data

    async def _in_thread(self, function: Any, *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._thread, function, *arguments)


def _mapping(text: bytes) -> dict[str, Any]:
    """A YAML mapping, or nothing."""
    try:
        found = yaml.safe_load(text)
    except yaml.YAMLError:
        return {}
    return found if isinstance(found, dict) else {}


async def run(lab: Lab, ready_file: Path | None, heartbeat_file: Path | None = None) -> None:
    """Serve until SIGTERM or SIGINT.

    Raises:
        LabError: another keeper serves this lab, or the ledger is corrupt.
    """
    lock = os.open(lab.run_dir / "keeper.lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise LabError(
            f"another keeper serves {lab.path}; there can be one only. See it with: nightlab status --lab {lab.path}"
        ) from None
    begin_s = time.monotonic()
    keeper = Keeper(lab)
    adopted = await keeper.start()
    lab.keeper_socket.unlink(missing_ok=True)
    clients: set[asyncio.StreamWriter] = set()
    mask = os.umask(0o177)
    try:
        server = await asyncio.start_unix_server(
            lambda r, w: serve(keeper, r, w, clients), lab.keeper_socket, limit=1 << 20
        )
    finally:
        os.umask(mask)
    stop = asyncio.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(name, stop.set)
    if ready_file is not None:
        ready = {"pid": os.getpid(), "socket": str(lab.keeper_socket), "adopted": adopted}
        episodes.write_atomic(ready_file, json.dumps(ready).encode(), sync=False)
    heart = asyncio.create_task(beating(heartbeat_file))
    took_s = time.monotonic() - begin_s
    print(f"keeper: serving {lab.path} after {took_s:.2f} s; {adopted} episodes adopted", file=sys.stderr, flush=True)
    async with server:
        await stop.wait()
        server.close()
        for writer in list(clients):
            writer.close()
    await keeper.stop()
    heart.cancel()
    lab.keeper_socket.unlink(missing_ok=True)


def main() -> int:
    """Command line of the process."""
    parser = argparse.ArgumentParser(description="The single writer of a lab.")
    parser.add_argument("--lab", type=Path, required=True)
    parser.add_argument("--ready-file", type=Path)
    parser.add_argument("--heartbeat-file", type=Path, help="touched every second while the keeper makes progress")
    options = parser.parse_args()
    try:
        asyncio.run(run(Lab.open(options.lab), options.ready_file, options.heartbeat_file))
    except NightlabError as error:
        print(f"keeper: {error}", file=sys.stderr, flush=True)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
