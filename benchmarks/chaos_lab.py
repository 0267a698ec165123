"""A lab under chaos, seen from outside: its processes, the stages that are open, its progress, what it must not lose."""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import grpc
import psutil

from commands.down import stop_lab
from commands.up import start_lab
from data.lab import Lab
from data.ledger import LedgerReader
from data.recorder import LISTING
from nightlab.records import EpisodeRecord, Outcome
from robots import station_pb2 as pb
from robots import station_pb2_grpc as rpc
from tasks.heart import hearts_dir, process_of

PROJECT = Path(__file__).resolve().parents[1]
RESEARCHER = Path(__file__).with_name("chaos_researcher.py")
ROBOT = "robot-1"
START_S = 900.0
"""Patience with the lab's start, also on a crowded machine, wall seconds."""
SERVICES = {
    "Prefect server": "prefect", "fleet": "fleet", "station server": ROBOT, "verifier": "verifier",
    "recorder": "recorder", "keeper": "keeper",
}  # fmt: skip
"""Process class → its name in `run/state.json`."""


@dataclass(frozen=True, slots=True)
class Open:
    """A stage that has begun and not ended."""

    mark: str
    stage: str
    iteration: str
    station: str
    since_s: float


class ChaosLab:
    """A lab whose campaign runs in a process of its own (`nightlab run`)."""

    def __init__(self, path: Path, *, stations: int, speed: str, budget_s: float, seed: int) -> None:
        self.path = path.resolve()
        self.stations, self.speed, self.budget_s, self.seed = stations, speed, budget_s, seed
        self.log_path = self.path.with_name(f"{self.path.name}.run.log")
        self._run: subprocess.Popen[bytes] | None = None
        self._reader: LedgerReader | None = None
        self._seq = 0
        self._open: dict[str, Open] = {}
        self.ended: dict[str, float] = {}
        """Mark of a stage → wall time at which it ended."""
        self.episodes: list[tuple[str, str, float]] = []
        """(name, station, wall time of the row) of every episode row, in order."""
        self.moving: dict[str, str] = {}
        """Station → iteration of its latest episode: most likely the holder of its lease."""
        self.latest: dict[tuple[str, str], float] = {}
        """What happened last, wall time: (`row`, station) an episode's row; (`episode`, station) the start of a scored
        one; (`stage`, station) a stage event; (`finished`, stage) a stage that was finished; (`shard`, ``)."""

    # The campaign ------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start the next campaign of the lab, or the first; the lab stays up between them."""
        start_lab(self.path, say=lambda _: None, timeout_s=START_S)
        python = Path(sys.executable)
        arguments = [
            "run", "push_t", "--stations", self.stations, "--researcher", f"command:{python} {RESEARCHER}",
            "--budget", f"{self.budget_s:g}s", "--held-out", 10, "--speed", self.speed, "--lab", self.path,
            "--seed", self.seed, "--json",
        ]  # fmt: skip
        environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONDONTWRITEBYTECODE", "NIGHTLAB_LAB")}
        with self.log_path.open("ab") as log:
            self._run = subprocess.Popen(
                [sys.executable, "-m", "commands.main", *map(str, arguments)],
                cwd=PROJECT, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip

    @property
    def running(self) -> bool:
        """Whether the campaign goes on."""
        return self._run is not None and self._run.poll() is None

    def wait(self, timeout_s: float) -> int | None:
        """The exit status of `nightlab run`; None if it has not ended."""
        assert self._run is not None
        try:
            return self._run.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return None

    def down(self) -> None:
        """Stop whatever is left of it."""
        if self._run is not None and self._run.poll() is None:
            self._run.terminate()
            self.wait(60.0)
        if Lab.exists(self.path):
            stop_lab(self.path, say=lambda _: None)

    # What it does now --------------------------------------------------------------------------------------------

    def look(self) -> list[Open]:
        """Read the ledger's news; the stages that are open now."""
        if self._reader is None:
            if not (self.path / "ledger.db").is_file():
                return []
            self._reader = LedgerReader(self.path / "ledger.db")
        if self._reader.last_seq() == self._seq:
            return list(self._open.values())
        for event in self._reader.events(since=self._seq):
            self._seq = event.seq
            mark = event.event_id.rpartition(":")[0]
            if event.kind.startswith("stage_"):
                self._note("stage", event.station, event.wall_s)
            if event.kind == "stage_finished":
                self._note("finished", str(event.data["stage"]), event.wall_s)
            if event.kind == "stage_started":
                stage = str(event.data["stage"])
                self._open[mark] = Open(mark, stage, event.iteration, event.station, event.wall_s)
            elif event.kind in ("stage_finished", "stage_failed"):
                self._open.pop(mark, None)
                self.ended[mark] = event.wall_s
            elif event.kind == "iteration_ended":
                for one in [o for o in self._open.values() if o.iteration == event.iteration]:
                    del self._open[one.mark]
            elif event.kind == "episode":
                record = EpisodeRecord.model_validate(event.data)
                self.episodes.append((record.key.text(), event.station, event.wall_s))
                self._note("row", event.station, event.wall_s)
                if record.verdict.outcome is not Outcome.UNSCORED:
                    self._note("episode", event.station, record.rollout_begin.wall_s)
                self.moving[event.station] = event.iteration
            elif event.kind == "shard":
                self._note("shard", "", event.wall_s)
            elif event.kind == "work_claimed":  # claimed once more: what its dead process had begun is over
                for one in [o for o in self._open.values() if o.iteration == event.iteration]:
                    del self._open[one.mark]
        return list(self._open.values())

    def _note(self, what: str, whose: str, wall_s: float) -> None:
        self.latest[what, whose] = max(wall_s, self.latest.get((what, whose), 0.0))

    def durable(self) -> set[str]:
        """Every finished episode: rows of the ledger and whole files of the spool."""
        self.look()
        spooled = {path.name.removesuffix(".episode") for path in (self.path / "spool").glob("*.episode")}
        return {name for name, _, _ in self.episodes} | spooled

    # Its processes -----------------------------------------------------------------------------------------------

    def find(self, what: str, at: Open) -> int | None:
        """The process of a class that works on the open stage, or for all; None if there is none now."""
        try:
            if what in SERVICES:
                state = json.loads((self.path / "run" / "state.json").read_text())
                service = state["processes"].get(SERVICES[what], {})
                return int(service["pid"]) if service.get("ready") else None
            if what == "campaign flow":
                return self._heart("campaign-")
            flow = self._heart(f"station-{at.station or ROBOT}-")
            if what == "station flow" or flow is None:
                return flow
            trial = _child(flow, f"/jobs/{at.iteration}.json")
            if what == "trial":
                return trial
            words = {"policy": '"mode": "serve"', "trainer": '"mode": "train"', "researcher": str(RESEARCHER)}
            root = trial if what == "policy" and at.stage == "rollout" else flow
            return None if root is None else _leaf(root, words[what])
        except (OSError, ValueError, KeyError, psutil.Error):
            return None

    def _heart(self, start: str) -> int | None:
        for path in hearts_dir(Lab(self.path)).glob(f"{start}*"):
            process = process_of(path)
            if process is not None and process.alive:
                return process.pid
        return None

    def addresses(self) -> list[str]:
        """Where the stations answer."""
        state = json.loads((self.path / "run" / "state.json").read_text())
        return [str(place["address"]) for place in state["stations"]]


def _child(root: int, words: str) -> int | None:
    """The process right below `root` whose last word ends so."""
    for process in psutil.Process(root).children():
        line = process.cmdline()
        if line and line[-1].endswith(words):
            return process.pid
    return None


def _leaf(root: int, words: str) -> int | None:
    """The deepest process below `root` with these words on its command line: the program, not its sandbox."""
    lines: dict[psutil.Process, list[str]] = {}
    for process in psutil.Process(root).children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):  # it was a short one
            lines[process] = process.cmdline()
    theirs: set[int] = set()
    for process, line in lines.items():
        if "tasks.trial" in line:
            with contextlib.suppress(psutil.NoSuchProcess):
                theirs |= {child.pid for child in process.children(recursive=True)}
    for process, line in lines.items():
        if process.pid not in theirs and words in " ".join(line):
            with contextlib.suppress(psutil.NoSuchProcess):
                if "bwrap" not in Path(process.exe()).name and not process.children():
                    return process.pid
    return None


@dataclass(frozen=True, slots=True)
class Sample:
    """What a station said of itself at one instant."""

    wall_s: float
    moved_s: float
    """Wall time of its latest motion command, by its own stamp."""
    holder: str
    """Of its lease: an iteration; empty if nobody has it."""
    lapses: int
    """Leases that ran out so far. One more: what follows is another lease, even of the same iteration."""


class Motion:
    """Watches, every few milliseconds, when each station was last commanded to move, and for whom."""

    def __init__(self, addresses: Sequence[str]) -> None:
        self.samples: dict[str, list[Sample]] = {address: [] for address in addresses}
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._watch, args=(one,), daemon=True) for one in addresses]
        for thread in self._threads:
            thread.start()

    def _watch(self, address: str) -> None:
        with grpc.insecure_channel(address) as channel:
            stub = rpc.StationStub(channel)  # type: ignore[no-untyped-call]
            while not self._stop.is_set():
                try:
                    stats = stub.Stats(pb.Empty(), timeout=1.0)
                except grpc.RpcError:
                    self._stop.wait(0.05)
                    continue
                self.samples[address].append(
                    Sample(time.time(), stats.last_motion_s, stats.lease_holder, stats.leases_lapsed)
                )
                self._stop.wait(0.004)

    def close(self) -> None:
        """Stop watching."""
        self._stop.set()
        for thread in self._threads:
            thread.join(2.0)

    def moving(self, holder: str, fresh_s: float) -> bool:
        """Whether a station was commanded to move for this holder within the last `fresh_s` (wall)."""
        latest = [samples[-1] for samples in self.samples.values() if samples]
        return any(one.holder == holder and time.time() - one.moved_s < fresh_s for one in latest)

    def stopped_after(self, fault_s: float, holder: str) -> float | None:
        """Wall seconds from the fault to the last motion command under the lease that `holder` had; None if it had none.

        Samples after that lease's end say nothing: the station goes home by itself then, or somebody else has it.
        """
        found: list[float] = []
        for samples in self.samples.values():
            before = [sample for sample in samples if sample.wall_s <= fault_s]
            if not before or before[-1].holder != holder:
                continue
            last = before[-1]
            for sample in samples[len(before) :]:
                if (sample.holder, sample.lapses) != (last.holder, last.lapses):
                    break
                last = sample
            found.append(max(0.0, last.moved_s - fault_s))
        return max(found, default=None)


class Death:
    """Notes when a process ends."""

    def __init__(self, pid: int) -> None:
        self.wall_s: float | None = None
        """None: it lives."""
        self._process = os.pidfd_open(pid)
        self._thread = threading.Thread(target=self._wait, daemon=True)
        self._thread.start()

    def _wait(self) -> None:
        select.select([self._process], [], [])
        self.wall_s = time.time()
        os.close(self._process)


@dataclass(frozen=True, slots=True)
class Findings:
    """What a campaign's ledger and shards say in the end. Empty lists: nothing is wrong."""

    episodes: int
    lost: list[str]
    twice: list[str]
    unfinished: list[str]


def audit(path: Path, durable: set[str]) -> Findings:
    """Compare what was durable with what the lab has in the end: in the ledger once, in one shard once, scored once."""
    reader = LedgerReader(path / "ledger.db")
    rows = [EpisodeRecord.model_validate(event.data) for event in reader.events(kind="episode")]
    names = Counter(record.key.text() for record in rows)
    listed: Counter[str] = Counter()
    for listing in (path / "rollouts").glob(f"*/*/{LISTING}"):
        if not listing.parent.name.endswith("-video"):
            records = (EpisodeRecord.model_validate_json(line) for line in listing.read_text().splitlines())
            listed.update(record.key.text() for record in records)
    scored = Counter(
        (record.key.iteration, record.key.idea, record.key.pool, record.key.seed)
        for record in rows
        if record.verdict.outcome is not Outcome.UNSCORED
    )
    twice = [name for name, count in names.items() if count > 1]
    twice += [name for name, count in listed.items() if count > 1]
    twice += [str(key) for key, count in scored.items() if count > 1]
    lost = sorted(durable - set(names)) + sorted(set(names) - set(listed))
    over = {event.campaign for event in reader.events(kind="campaign_ended")}
    started = {event.campaign for event in reader.events(kind="campaign_started")}
    return Findings(episodes=len(rows), lost=lost, twice=twice, unfinished=sorted(started - over))
