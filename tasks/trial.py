"""The trial process: everything that stands between a deployed policy and finished, judged, durable episodes.

    python -m tasks.trial JOB.json

A process of its own, so that nothing else (orchestration, training, recording) shares the event loop with the robot. It
takes the station's lease, runs the episodes that are missing, hands each to the verifier and the keeper, and prints one
JSON line per finished episode. Verification of an episode overlaps with the next one. It may be killed at any time:
run again with the same job it continues with the missing seeds.
"""

from __future__ import annotations

import asyncio
import gc
import json
import math
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from data.judge import ConfirmVerdict, SearchVerdict
from data.keeper_client import KeeperClient
from data.schedule import TrialPlan
from environments.verifier_client import VerifierClient
from nightlab.errors import EstopError, NightlabError, PolicyError, StationError
from nightlab.records import EpisodeEnd, EpisodeKey, EpisodeRecord, Outcome, SeedPool, Verdict
from policies.host import PolicyProcess
from tasks.at_robot import AtRobot, TrialStopped
from tasks.episode import RawEpisode, ResetFailed, run_episode
from tasks.heart import heart
from tasks.integrity import check_checkpoint, check_pin
from tasks.trial_job import PolicyFiles, TrialJob, TrialResult
from tasks.trial_sink import TrialSink

STATION_ATTEMPTS = 3
"""How often the same seed is run again after a station's fault before it stays UNSCORED."""


class Trial(AtRobot):
    """One job, from lease to release."""

    def __init__(self, job: TrialJob, keeper: TrialSink, verifier: VerifierClient) -> None:
        super().__init__(job, keeper)
        self.verifier = verifier
        self.on_episode: Callable[[dict[str, Any]], None] = lambda line: print(json.dumps(line), flush=True)
        self.manifest_sha256 = ""
        self.episodes = 0
        self._steps = 0
        self._late = 0
        self._control_wall_s = 0.0
        self._control_station_s = 0.0
        self._policies: dict[str, PolicyProcess] = {}
        self._finishing: list[asyncio.Task[None]] = []
        """Episodes that are still being verified and stored, oldest first."""
        self._news = asyncio.Event()
        """Set whenever one of them is done."""
        self._results: dict[tuple[str, SeedPool, int], EpisodeRecord] = {}

    async def run(self) -> TrialResult:
        """Run the job; raises TamperError before anything moves if a frozen file was changed.

        Whether a new file stands before a frozen one is asked before the episodes count (tasks/verify.py).
        """
        self.manifest_sha256 = check_pin(self.job.campaign, listed=True)
        await self._policy(self.job.candidate)
        try:
            await self._take()
            if self.job.compare:
                stopped = await self._compare(await self._plan())
            else:
                stopped = await self._run_seeds(self.job.pool, self.job.seeds)
        except TrialStopped as stop:
            stopped = str(stop)
        finally:
            await self._close()
        rate_hz = self.rate_hz
        achieved = self._control_station_s / self._control_wall_s if self._control_wall_s > 0 else None
        return TrialResult(
            iteration=self.job.iteration,
            episodes=self.episodes,
            stopped=stopped,
            unscored=self.unscored,
            achieved_speed=achieved,
            late_share=self._late / self._steps if self._steps and rate_hz else 0.0,
            manifest_sha256=self.manifest_sha256,
        )

    async def _close(self) -> None:
        try:
            await self._give_back()
            await self._join()
        finally:
            for policy in self._policies.values():
                await policy.close()

    async def _policy(self, files: PolicyFiles) -> PolicyProcess:
        """The running policy process of an idea; started again after a fault."""
        running = self._policies.get(files.idea)
        if running is None or not running.alive:
            await asyncio.to_thread(check_checkpoint, Path(files.checkpoint_dir), files.sha256)
            try:
                running = await PolicyProcess.start(Path(files.code_dir), Path(files.checkpoint_dir))
            except PolicyError as error:
                if "its process ended with code" not in str(error):
                    raise
                running = await PolicyProcess.start(Path(files.code_dir), Path(files.checkpoint_dir))  # killed, perhaps
            self._policies[files.idea] = running
        return running

    async def _run_seeds(self, pool: SeedPool, seeds: tuple[int, ...]) -> str:
        done = await self.keeper.finished(self.job.iteration, self.job.candidate.idea)
        for seed in seeds:
            if (pool, seed) not in done:
                await self._episode(self.job.candidate, pool, seed)
        return "all seeds"

    async def _plan(self) -> TrialPlan:
        """What the candidate has to run against the incumbent of this moment."""
        job = self.job
        return await self.keeper.trial_plan(
            job.campaign.campaign, job.iteration, job.candidate.idea, self.place.station
        )

    async def _compare(self, plan: TrialPlan) -> str:
        """The paired trial: candidate and incumbent on the same seeds, with a sequential stop."""
        incumbent = PolicyFiles.model_validate(await self.keeper.policy_files(plan.incumbent))
        verdict = await self._until(
            plan, incumbent, SeedPool.SEARCH, plan.search_seeds, lambda: plan.search_verdict(self._results)
        )
        if verdict is SearchVerdict.CONTINUE:
            verdict = plan.search_verdict(self._results, last=True)
        if verdict is not SearchVerdict.PROMISING:
            return f"{verdict.value} after {len(plan.pairs(self._results))} pairs"
        seeds = plan.confirm_seeds or await self.keeper.draw(
            plan.campaign, plan.iteration, SeedPool.CONFIRM, plan.confirm_n, "confirm"
        )
        beaten, confirmed = "", ConfirmVerdict.KEEP
        while confirmed is ConfirmVerdict.KEEP:
            plan = plan.rival(await self._plan(), self._results)
            if plan.incumbent == beaten:
                break
            beaten, confirmed = plan.incumbent, await self._confirm(plan, seeds)
        return "all fresh seeds" if confirmed is ConfirmVerdict.CONTINUE else f"{confirmed.value} on fresh seeds"

    async def _confirm(self, plan: TrialPlan, seeds: Sequence[int]) -> ConfirmVerdict:
        """Pairs on fresh seeds against the plan's incumbent."""
        incumbent = PolicyFiles.model_validate(await self.keeper.policy_files(plan.incumbent))
        return await self._until(plan, incumbent, SeedPool.CONFIRM, seeds, lambda: plan.confirm_verdict(self._results))

    async def _until[V: (SearchVerdict, ConfirmVerdict)](
        self, plan: TrialPlan, incumbent: PolicyFiles, pool: SeedPool, seeds: Sequence[int], verdict: Callable[[], V]
    ) -> V:
        """Pairs on the seeds until the verdict is no longer CONTINUE; all of them are judged then.

        An episode is verified and stored while the next one runs already, so that the robot does not wait for it. If it
        decides the trial, the one that has begun is broken off and counts nowhere.
        """
        for seed in seeds:
            self._news.clear()
            if verdict().value != "continue":
                break
            pair = asyncio.create_task(self._pair(plan, incumbent, pool, seed))
            try:
                while not pair.done():
                    news = asyncio.create_task(self._news.wait())
                    await asyncio.wait({pair, news}, return_when=asyncio.FIRST_COMPLETED)
                    news.cancel()
                    self._news.clear()
                    if not pair.done() and verdict().value != "continue":
                        break
            finally:
                if not pair.done():
                    pair.cancel()
                    await asyncio.wait({pair})
            if not pair.cancelled():
                pair.result()
        await self._join()
        return verdict()

    async def _pair(self, plan: TrialPlan, incumbent: PolicyFiles, pool: SeedPool, seed: int) -> None:
        for files in (self.job.candidate, incumbent):
            if not plan.knows(files.idea, pool, seed, self._results):
                await self._episode(files, pool, seed)

    async def _episode(self, files: PolicyFiles, pool: SeedPool, seed: int) -> None:
        """Run one seed until it is scored, at most STATION_ATTEMPTS times.

        Raises:
            TrialStopped: the campaign has no more use for this trial.
            ResetError: the station is parked, or was parked now because its reset used up its attempts.
        """
        while len(self._finishing) > 1:  # the verifier is behind
            await self._join_oldest()
        if self._followed:
            await self._ask()
        for attempt in range(STATION_ATTEMPTS):
            key = EpisodeKey(
                campaign=self.job.campaign.campaign,
                iteration=self.job.iteration,
                idea=files.idea,
                station=self.place.station,
                pool=pool,
                seed=seed,
                attempt=attempt,
            )
            try:
                policy = await self._policy(files)
                raw = await run_episode(
                    self.environment, self.station, self.lease, self.admin, policy, self.spec, key, film=self.job.film,
                    secret=self.job.policy_secret,
                )  # fmt: skip
            except ResetFailed as error:
                await self._join()
                await self._park(key, error)
                raise
            except EstopError:
                await self._join()
                self.unscored += 1
                await self._stopped()
                continue
            except StationError as error:
                await self._station_fault(key, str(error))
                continue
            before = self._finishing[-1] if self._finishing else None
            self._finishing.append(asyncio.create_task(self._finish(raw, files, before)))
            return
        raise StationError(
            f"station {self.place.station} failed {STATION_ATTEMPTS} times on the same seed; see its log, then: nightlab status"
        )

    async def _join(self) -> None:
        """Wait for the episodes that are still being verified and stored."""
        while self._finishing:
            await self._join_oldest()

    async def _join_oldest(self) -> None:
        oldest = self._finishing[0]
        await asyncio.shield(oldest)
        if self._finishing and self._finishing[0] is oldest:
            del self._finishing[0]

    async def _finish(self, raw: RawEpisode, files: PolicyFiles, before: asyncio.Task[None] | None) -> None:
        """Judge, make durable and count an episode, after the one before it."""
        try:
            await self._store(raw, files, before)
        finally:
            self._news.set()

    async def _store(self, raw: RawEpisode, files: PolicyFiles, before: asyncio.Task[None] | None) -> None:
        seen = raw.evidence
        arrays = await asyncio.to_thread(raw.arrays.with_frames, seen.frames, seen.observations, seen.measures)
        verdict = await self.verifier.verify(seen, frames_png=arrays.frames_png, depths_png=arrays.depths_png)
        if raw.end in (EpisodeEnd.POLICY_FAULT, EpisodeEnd.SAFETY_STOP) and verdict.outcome is not Outcome.UNSCORED:
            verdict = verdict.model_copy(
                update={"outcome": Outcome.FAILURE, "reason": f"{raw.end.value}: {raw.fault}"[:300]}
            )
        if before is not None:
            await asyncio.wait({before})
        record = self._record(raw, files, verdict)
        await self.keeper.put_episode(record, arrays)
        self._results[(raw.key.idea, raw.key.pool, raw.key.seed)] = record
        self.episodes += 1
        self._steps += raw.steps
        self._late += raw.late
        self._control_wall_s += raw.control_wall_s
        self._control_station_s += raw.rollout_end.station_s - raw.rollout_begin.station_s
        line = {
            "idea": raw.key.idea,
            "pool": raw.key.pool.value,
            "outcome": verdict.outcome.value,
            "score": round(verdict.score, 4),
            "steps": raw.steps,
            "end": raw.end.value,
            "n": self.episodes,
        }
        self.on_episode(line)

    def _record(self, raw: RawEpisode, files: PolicyFiles, verdict: Verdict) -> EpisodeRecord:
        seed = self.job.station_seed if self.job.station_seed is not None else self.place.station_seed
        return EpisodeRecord(
            key=raw.key,
            environment=self.environment.name,
            profile=self.spec.profile,
            station_seed=seed,
            speed=self.spec.speed,
            verdict=verdict,
            end=raw.end,
            steps=raw.steps,
            late=raw.late,
            clamped=raw.clamped,
            reset=raw.reset,
            reset_begin=raw.reset_begin,
            rollout_begin=raw.rollout_begin,
            rollout_end=raw.rollout_end,
            control_wall_s=raw.control_wall_s,
            policy_sha256=files.sha256,
            fault=raw.fault[:500],
            manifest_sha256=self.manifest_sha256,
            filmed=bool(raw.arrays.film_jpeg),
        )


async def run_job(job: TrialJob) -> TrialResult:
    """Connect to keeper and verifier, run the job, and leave nothing behind, also when cancelled."""
    keeper = KeeperClient(Path(job.keeper_socket), full_s=math.inf)  # the robot holds until there is space
    verifier = await VerifierClient.connect(Path(job.verifier_socket))
    try:
        return await Trial(job, keeper, verifier).run()
    finally:
        await verifier.close()
        await keeper.close()


async def _main(path: Path) -> int:
    job = TrialJob.model_validate_json(path.read_text())
    gc.freeze()  # the robot does not wait for a walk over all that was imported
    task = asyncio.ensure_future(run_job(job))
    loop = asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, task.cancel)
    try:
        async with (
            heart(Path(job.hearts_dir), "trial-waiting" if job.places else f"trial-{job.place.station}")
            if job.hearts_dir
            else nullcontext()
        ):
            result = await task
    except asyncio.CancelledError:
        return 143
    except NightlabError as error:
        print(json.dumps({"error": str(error), "kind": type(error).__name__}), flush=True)
        return 2
    print(json.dumps({"result": result.model_dump(mode="json")}), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(_main(Path(sys.argv[1]))))
