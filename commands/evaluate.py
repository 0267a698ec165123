"""`nightlab evaluate`: an idea's success rate through the same station, safety filter and verifier, outside any campaign.

Starts its own stations and verifier in a temporary directory and writes nothing into the lab.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nightlab.errors import ServiceError, UsageError
from nightlab.records import CampaignSpec, EpisodeRecord, SeedPool, StationPlace

if TYPE_CHECKING:
    from data.lab import Lab
    from tasks.trial_sink import MemorySink

READY_S = 40.0
"""Wall seconds within which stations and verifier must answer."""


def evaluate(
    idea: Annotated[str, typer.Argument(help="Idea, e.g. I17, or best")],
    env: Annotated[str, typer.Option(help="Environment")] = "push_t",
    profile: Annotated[str, typer.Option(help="nominal, real, hard, or a YAML file")] = "nominal",
    seeds: Annotated[str, typer.Option(help="Range A:B, or a file with one seed a line")] = "0:100",
    station_seed: Annotated[int, typer.Option(help="Seed of the first simulated station")] = 0,
    stations: Annotated[int, typer.Option(help="Simulated stations side by side")] = 2,
    speed: Annotated[str, typer.Option(help="Times real time, or max; default by environment")] = "",
    lab: Annotated[Path, typer.Option(help="Lab directory")] = Path("lab"),
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object")] = False,
) -> None:
    """Measure an idea's success rate on fresh simulated stations; the lab stays as it is."""
    from commands.run import check_stations, read_speed
    from data.lab import Lab
    from data.seeds import load_key, policy_secret
    from environments import make, world
    from robots.profiles import load_profile

    make(env)
    load_profile(profile, world(env))
    wanted = read_seeds(seeds)
    times = read_speed(speed, env)
    spec = CampaignSpec(environment=env, profile=profile, stations=check_stations(stations), speed=times)
    opened = Lab.open(lab)
    with tempfile.TemporaryDirectory(prefix="nightlab-idea-") as room:
        name, code_dir, checkpoint_dir = asyncio.run(policy_of(opened, idea, env, Path(room)))
        say = (lambda _: None) if as_json else _tell
        records = asyncio.run(
            evaluate_policy(
                spec,
                code_dir,
                checkpoint_dir,
                wanted,
                idea=name,
                station_seed=station_seed,
                on_episode=say,
                policy_secret=policy_secret(load_key(opened.key_path)),
            )
        )
    extra = {"idea": name, "environment": env, "profile": profile, "station_seed": station_seed}
    print_summary(summary(records, **extra), as_json=as_json)


async def policy_of(lab: Lab, idea: str, environment: str, room: Path) -> tuple[str, Path, Path]:
    """The idea's name, its code and its checkpoint, both copied or made in `room`.

    The code comes from the lab's git. The checkpoint is the lab's own where it lies there; otherwise the idea is trained.
    """
    from commands.report import latest_campaign
    from data.campaign_state import CampaignState
    from data.git_reader import read_ideas
    from data.lab_git import LabGit
    from data.ledger import LedgerReader
    from policies.trainer import SandboxedTrainer

    if idea == "best":
        campaign = latest_campaign(lab)
        events = LedgerReader(lab.ledger_path).events(campaign=campaign)
        started = next(event for event in events if event.kind == "campaign_started")
        idea = CampaignState.from_events(CampaignSpec.model_validate(started.data), events).best
    known = {item.idea: item for item in read_ideas(lab.path)}
    if idea not in known:
        raise UsageError.unknown("idea", idea, [*known, "best"], f"nightlab tree --lab {lab.path}")
    code_dir, checkpoint_dir = room / "code", room / "checkpoint"
    code_dir.mkdir()
    for name, content in LabGit(lab.path).files(known[idea].commit, f"research/{environment}").items():
        (code_dir / name).write_bytes(content)
    made = lab.checkpoints_dir / idea
    if (made / "config.json").is_file():
        shutil.copytree(made, checkpoint_dir)
    else:
        checkpoint_dir.mkdir()
        await SandboxedTrainer().train(code_dir, checkpoint_dir, budget_s=600.0)
    return idea, code_dir, checkpoint_dir


def _tell(line: dict[str, Any]) -> None:
    print(f"{line['outcome']:<8} score {line['score']:.3f}  {line['steps']:>3} steps  {line['end']}", flush=True)


def read_seeds(text: str) -> tuple[int, ...]:
    """`A:B` as the range A … B-1, or a file with one whole number a line.

    Raises:
        UsageError: neither a range nor a readable file of numbers; nothing has moved.
    """
    first, colon, last = text.partition(":")
    if colon and first.lstrip("-").isdigit() and last.lstrip("-").isdigit():
        seeds = tuple(range(int(first), int(last)))
    else:
        try:
            seeds = tuple(int(line) for line in Path(text).read_text().split())
        except (OSError, ValueError) as error:
            raise UsageError(
                f"seeds {text!r}: {error}. Give a range A:B, e.g. --seeds 0:200, or a file with one whole number a line"
            ) from error
    if not seeds or min(seeds) < 0:
        raise UsageError(f"seeds {text!r} hold no seed >= 0. Give a range A:B with B > A >= 0, e.g. --seeds 0:200")
    return seeds


async def evaluate_policy(
    spec: CampaignSpec,
    code_dir: Path,
    checkpoint_dir: Path,
    seeds: tuple[int, ...],
    *,
    idea: str,
    station_seed: int,
    on_episode: Callable[[dict[str, Any]], None] = lambda _: None,
    sinks: Sequence[MemorySink] = (),
    policy_secret: str = "",
) -> list[EpisodeRecord]:
    """Run every seed once on `spec.stations` fresh simulated stations.

    Args:
        spec: Environment, profile, speed and number of stations; station k is sampled from `station_seed + k`.
        code_dir: The policy's code.
        checkpoint_dir: Its checkpoint.
        seeds: Episode seeds, split over the stations.
        idea: Name for the records.
        station_seed: Seed of the first station.
        on_episode: Called with each finished episode's line.
        sinks: One per station, to keep the arrays as well.
        policy_secret: Keys the seeds that the policy gets (see `tasks.episode.policy_seed`).
    """
    import environments
    from environments.verifier_client import VerifierClient
    from tasks.trial import Trial
    from tasks.trial_job import PolicyFiles, TrialJob
    from tasks.trial_sink import MemorySink

    world = environments.world(spec.environment)
    room = Path(tempfile.mkdtemp(prefix="nightlab-evaluate-"))
    room.chmod(0o700)
    processes: list[asyncio.subprocess.Process] = []
    try:
        names = [f"robot-{number}" for number in range(1, spec.stations + 1)]
        waiting = await spawn_stations(room, names, world, spec.profile, spec.speed, station_seed, processes)
        ready = room / "verifier.json"
        argv = [
            "-m",
            "environments.verifier_process",
            "--socket",
            str(room / "verifier.sock"),
            "--ready-file",
            str(ready),
        ]
        processes.append(await _spawn(argv, room / "verifier.log"))
        await wait_ready([*waiting, ready], processes, room)
        sinks = sinks or [MemorySink() for _ in names]
        trials = []
        for number, name in enumerate(names):
            job = TrialJob(
                campaign=spec,
                iteration=f"evaluate-{number}",
                place=StationPlace.model_validate_json((room / f"{name}.json").read_text()),
                keeper_socket="",
                verifier_socket=str(room / "verifier.sock"),
                candidate=PolicyFiles(idea=idea, code_dir=str(code_dir), checkpoint_dir=str(checkpoint_dir), sha256=""),
                pool=SeedPool.SEARCH,
                seeds=seeds[number :: len(names)],
                film=False,
                policy_secret=policy_secret,
            )
            verifier = await VerifierClient.connect(room / "verifier.sock")
            trial = Trial(job, sinks[number], verifier)
            trial.on_episode = on_episode
            trials.append(trial.run())
        await asyncio.gather(*trials)
        return [record for sink in sinks for record, _ in sink.episodes]
    finally:
        for process in processes:
            if process.returncode is None:
                process.terminate()
        await asyncio.gather(*(process.wait() for process in processes))
        shutil.rmtree(room, ignore_errors=True)


async def spawn_stations(
    room: Path,
    names: Sequence[str],
    world: str,
    profile: str,
    speed: float,
    station_seed: int,
    processes: list[asyncio.subprocess.Process],
) -> list[Path]:
    """Start a station server for each name, sampled from `station_seed` and the numbers after it.

    Returns the files that say they are ready (a `StationPlace` each); the processes are added to `processes`.
    """
    waiting = []
    for number, name in enumerate(names):
        argv = [
            "-m", "robots.serve", "--station", name, "--world", world, "--profile", profile,
            "--speed", str(speed), "--station-seed", str(station_seed + number), "--address", "127.0.0.1:0",
            "--admin-socket", str(room / f"{name}.sock"), "--ready-file", str(room / f"{name}.json"),
            "--die-with-parent",
        ]  # fmt: skip
        processes.append(await _spawn(argv, room / f"{name}.log"))
        waiting.append(room / f"{name}.json")
    return waiting


async def _spawn(argv: list[str], log: Path) -> asyncio.subprocess.Process:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with log.open("wb") as stream:
        return await asyncio.create_subprocess_exec(
            sys.executable, *argv, stdout=stream, stderr=stream, env=environment
        )


async def wait_ready(files: list[Path], processes: list[asyncio.subprocess.Process], room: Path) -> None:
    """Wait until all files exist. Raises ServiceError, with the logs, if a process dies or READY_S pass."""
    deadline = time.monotonic() + READY_S
    while not all(file.exists() for file in files):
        dead = [process for process in processes if process.returncode is not None]
        if dead or time.monotonic() > deadline:
            logs = "\n".join(f"{log.name}: {log.read_text()[-600:]}" for log in sorted(room.glob("*.log")))
            raise ServiceError(
                f"stations or verifier did not start within {READY_S:.0f} s; see: nightlab doctor\n{logs}"
            )
        await asyncio.sleep(0.05)


def summary(records: list[EpisodeRecord], **extra: Any) -> dict[str, Any]:
    """What `evaluate --json` prints: n, successes, unscored and the 95 % Wilson interval."""
    from data.pairs import Result
    from data.statistics import rate

    measured = rate(Result.of(record) for record in records)
    reasons: dict[str, int] = {}
    for record in records:
        if record.verdict.outcome.value != "success":
            reasons[record.verdict.reason] = reasons.get(record.verdict.reason, 0) + 1
    return {**extra, **measured.model_dump(mode="json", exclude={"schema_version"}), "failures": reasons}


def print_summary(result: dict[str, Any], *, as_json: bool) -> None:
    """One JSON object, or one sentence."""
    if as_json:
        print(json.dumps(result))
        return
    print(
        f"{result['idea']} on {result['environment']}/{result['profile']}: {result['successes']} of {result['n']} succeed, "
        f"95 % Wilson {result['wilson_low']:.3f} – {result['wilson_high']:.3f}, {result['unscored']} unscored"
    )
