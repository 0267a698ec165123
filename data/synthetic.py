"""A whole campaign without robots: the real schedule, judge and state on a simulated clock. Makes a ledger's events.

For tuning the schedule (benchmarks/search_simulation.py) and for testing metrics, report and tree without a lab.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Generator
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from data.campaign_state import CampaignState
from data.dispatch import BOUND, IDEA
from data.judge import ConfirmVerdict, SearchVerdict
from data.pacing import DEFAULTS, ScheduleSettings
from data.schedule import TrialPlan, judge_trial, next_work, stop_trial, trial_plan
from data.synthetic_model import RandomResearcher, Recipe
from nightlab.records import (
    CampaignSpec,
    Clock,
    Decision,
    EpisodeEnd,
    EpisodeKey,
    EpisodeRecord,
    Event,
    EventKind,
    Idea,
    IterationStatus,
    Outcome,
    Proposal,
    ProposalStatus,
    ResetReport,
    SeedPool,
    Usage,
    Verdict,
    Work,
    WorkKind,
)


@dataclass(frozen=True, slots=True)
class Turn:
    """A request for a robot, or (`over`) the end of its use."""

    name: str
    rank: int = BOUND
    robots: tuple[str, ...] = ()
    over: bool = False


Wait = float | Turn
"""What a simulated process yields: seconds to sleep, or a turn at a robot."""
Process = Generator[Wait, None, None]
RATE_HZ = 10.0
SLOTS = 6
"""Iterations that a simulated station flow runs side by side at most."""
START_S = 1_750_000_000.0
"""Wall time at which simulated campaigns start."""


@dataclass(frozen=True)
class Costs:
    """Wall seconds of everything that is not control."""

    think_s: float = 0.5
    train_s: float = 0.6
    deploy_s: float = 0.8
    start_s: float = 0.3
    """From having the lease to the first reset."""
    reset_s: float = 0.05
    gap_s: float = 0.03
    """Between two episodes."""
    end_s: float = 0.6
    """Verify and summarize, without the robot."""


@dataclass
class SyntheticCampaign:
    """One simulated campaign; `run()` returns its events in ledger order."""

    spec: CampaignSpec
    seed: int = 0
    settings: ScheduleSettings = DEFAULTS
    costs: Costs = field(default_factory=Costs)
    unscored_share: float = 0.0
    insight: int = 1
    """How much better than chance the researcher is; see `RandomResearcher`."""
    skip_stale: bool = True
    """Drop ideas whose parent was superseded before their trial began."""
    gives_up_at: int = 300
    """Steps after which failing policies stop by themselves."""
    events: list[Event] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.spec = self.spec.model_copy(update={"campaign": self.spec.campaign or "C1"})
        self.state = CampaignState(spec=self.spec)
        self.rng = random.Random(self.seed)
        self.researcher = RandomResearcher(self.rng, self.insight)
        self.recipes: dict[str, Any] = {"I0": Recipe()}
        self.researcher.tried.add(Recipe().text())
        self.now_s = START_S
        self._queue: list[tuple[float, int, Process]] = []
        self._order = count()
        self._seeds = count(1 + 1_000_000 * self.seed)
        self._done: dict[str, dict[tuple[str, SeedPool, int], EpisodeRecord]] = {}
        """What each trial has finished, by iteration."""
        self._holders: dict[str, str] = {}
        """Robot → whose turn it is; "" if nobody's."""
        self._waiting: list[tuple[int, int, Turn, Process]] = []

    def run(self) -> list[Event]:
        """Simulate until every station flow has stopped."""
        self._emit("campaign_started", data=self.spec.model_dump(mode="json"))
        first = Proposal(status=ProposalStatus.OK, researcher="template", modules=self.template_modules())
        self._commit("I0", None, first)
        for number in range(1, self.spec.stations + 1):
            robot = f"robot-{number}"
            self._holders[robot] = ""
            self._emit("station_up", station=robot)
            for _ in range(self.spec.window + 1 if self.spec.window else SLOTS):
                self._start(self._slot(robot))
        while self._queue:
            self.now_s, _, process = heapq.heappop(self._queue)
            self._resume(process)
        self._emit("campaign_ended", data={"reason": self.state.stop_reason(self.now_s)})
        return self.events

    # What may be replaced by the real thing ----------------------------------------------------------------------

    def think(self, work: Work) -> tuple[Any, Proposal] | None:
        """The researcher's next idea on `work.parent`: its recipe and the proposal; None if there is none."""
        recipe, told, mutation = self.researcher.propose(self.recipes[work.parent])
        if not mutation:
            return None
        proposal = Proposal(
            status=ProposalStatus.OK,
            researcher="offline",
            hypothesis=told,
            falsified_if="it does not win on paired seeds",
            family=str(mutation.get("slot", "knob")),
            mutation=dict(mutation),
            modules=recipe.modules,
            parents=(work.parent,),
            sources=("mason2001",) if self.rng.random() < 0.3 else (),
        )
        return recipe, proposal

    def template_modules(self) -> dict[str, str]:
        """The template's module per slot."""
        modules: dict[str, str] = self.recipes["I0"].modules
        return modules

    def forget(self, idea: str) -> None:
        """An idea was dropped before its trial: it may be proposed again."""
        self.researcher.tried.discard(self.recipes[idea].text())

    def play(self, idea: str, seed: int, station: str) -> tuple[Outcome, float, int, str]:
        """One episode: outcome, score, steps and the verifier's word."""
        result: tuple[Outcome, float, int, str] = self.recipes[idea].run(seed, self.gives_up_at)
        return result

    # The clock ---------------------------------------------------------------------------------------------------

    def _start(self, process: Process, in_s: float = 0.0) -> None:
        heapq.heappush(self._queue, (self.now_s + in_s, next(self._order), process))

    def _resume(self, process: Process) -> None:
        """Run a process to its next sleep, or until it waits for a robot."""
        for wanted in process:
            if isinstance(wanted, float):
                self._start(process, wanted)
                return
            if wanted.over:
                self._holders[self._place(wanted.name)] = ""
                self._grant()
                continue
            self._waiting.append((wanted.rank, next(self._order), wanted, process))
            self._grant()
            return

    def _grant(self) -> None:
        """Free robots to those who wait, in the order of data/dispatch.py."""
        for request in sorted(self._waiting, key=lambda waiting: waiting[:2]):
            _, _, turn, process = request
            free = [robot for robot in turn.robots if not self._holders[robot]]
            if free:
                self._holders[free[0]] = turn.name
                self._waiting.remove(request)
                self._start(process)

    def _place(self, name: str) -> str:
        """The robot that a turn has."""
        return next(robot for robot, holder in self._holders.items() if holder == name)

    # One slot of a station flow's window -------------------------------------------------------------------------

    def _slot(self, robot: str) -> Process:
        while True:
            work = next_work(self.state, robot, self.now_s, self._draw, settings=self.settings)
            if work.kind is WorkKind.STOP:
                return
            if work.kind is WorkKind.WAIT:
                yield work.wait_s
                continue
            self._emit("work_claimed", work.iteration, robot, work.model_dump(mode="json"))
            yield from self._search(work) if work.kind is WorkKind.SEARCH else self._evaluate(work)

    def _evaluate(self, work: Work) -> Process:
        yield from self._stage(work, "deploy", self.costs.deploy_s)
        self._emit("stage_started", work.iteration, work.station, {"stage": "rollout"})
        name = f"{work.iteration} {work.station}"
        yield Turn(name, robots=(work.station,))
        yield self.costs.start_s
        for seed in work.seeds:
            if stop_trial(self.state, work.iteration, self.now_s, settings=self.settings):
                break
            yield from self._episode(work, work.idea, work.pool or SeedPool.SEARCH, seed)
        yield Turn(name, over=True)
        yield self.costs.end_s
        self._end(work, IterationStatus.EVALUATED)

    def _search(self, work: Work) -> Process:
        name = work.iteration
        yield from self._stage(work, "propose", self.costs.think_s * self.rng.lognormvariate(0, 0.3))
        found = self.think(work)
        self._emit("usage", name, work.station, Usage(input_tokens=0, output_tokens=0).model_dump(mode="json"))
        if found is None:
            self._end(work, IterationStatus.NO_CHANGE)
            return
        self.recipes[name], proposal = found
        self._commit(name, work.parent, proposal, work.station)
        yield from self._stage(work, "train", self.costs.train_s)
        yield from self._stage(work, "deploy", self.costs.deploy_s)
        self._emit("stage_started", name, work.station, {"stage": "rollout"})
        yield Turn(name, IDEA, tuple(self._holders))
        work = work.model_copy(update={"station": self._place(name)})
        self._emit("dispatched", name, work.station)
        if self.skip_stale and self._plan(work).stale:
            yield Turn(name, over=True)
            self.forget(name)
            self._end(work, IterationStatus.STOPPED)
            return
        yield self.costs.start_s
        yield from self._trial(work)
        yield Turn(name, over=True)
        yield self.costs.end_s
        if stop_trial(self.state, name, self.now_s, settings=self.settings):
            self._end(work, IterationStatus.STOPPED)
            return
        self._emit("judged", name, work.station, judge_trial(self.state, name).model_dump(mode="json"))
        self._end(work, IterationStatus.DECIDED)

    def _trial(self, work: Work) -> Process:
        """Like tasks/trial.py."""
        plan, done = self._plan(work), self._done.setdefault(work.iteration, {})
        verdict = SearchVerdict.CONTINUE
        for seed in plan.search_seeds:
            yield from self._pair(work, plan, SeedPool.SEARCH, seed)
            if stop_trial(self.state, work.iteration, self.now_s, settings=self.settings):
                return
            verdict = plan.search_verdict(done, last=seed == plan.search_seeds[-1])
            if verdict is not SearchVerdict.CONTINUE:
                break
        if verdict is not SearchVerdict.PROMISING:
            return
        seeds = self._draw(SeedPool.CONFIRM, plan.confirm_n, "confirm", work.iteration)
        beaten, confirmed = "", ConfirmVerdict.KEEP
        while confirmed is ConfirmVerdict.KEEP:
            plan = plan.rival(self._plan(work), done)
            if plan.incumbent == beaten:
                return
            for seed in seeds:
                yield from self._pair(work, plan, SeedPool.CONFIRM, seed)
                if stop_trial(self.state, work.iteration, self.now_s, settings=self.settings):
                    return
                confirmed = plan.confirm_verdict(done)
                if confirmed is not ConfirmVerdict.CONTINUE:
                    break
            beaten = plan.incumbent

    def _plan(self, work: Work) -> TrialPlan:
        return trial_plan(self.state, work.iteration, work.iteration, self._draw)

    def _pair(self, work: Work, plan: TrialPlan, pool: SeedPool, seed: int) -> Process:
        for idea in (work.iteration, plan.incumbent):
            if not plan.knows(idea, pool, seed, self._done[work.iteration]):
                yield from self._episode(work, idea, pool, seed)

    def _episode(self, work: Work, idea: str, pool: SeedPool, seed: int) -> Process:
        outcome, score, steps, word = self.play(idea, seed, work.station)
        attempt = 0
        if self.rng.random() < self.unscored_share:
            yield self._record(work, idea, pool, seed, 0, (Outcome.UNSCORED, 0.0, 40, "frozen camera"))
            attempt = 1
        yield self._record(work, idea, pool, seed, attempt, (outcome, score, steps, word))

    def _record(
        self, work: Work, idea: str, pool: SeedPool, seed: int, attempt: int, what: tuple[Outcome, float, int, str]
    ) -> float:
        """Write an episode that begins now; returns how long it takes."""
        outcome, score, steps, word = what
        speed = self.spec.speed or 100.0
        begin_s = self.now_s
        rollout_s = begin_s + self.costs.reset_s
        control_s = (steps + 5) / (RATE_HZ * speed)
        clocks = [Clock(wall_s=t, station_s=t * speed) for t in (begin_s, rollout_s, rollout_s + control_s)]
        end = EpisodeEnd.HELD if outcome is Outcome.SUCCESS else EpisodeEnd.MAX_STEPS
        record = EpisodeRecord(
            key=EpisodeKey(
                campaign=self.spec.campaign, iteration=work.iteration, idea=idea, station=work.station, pool=pool,
                seed=seed, attempt=attempt,
            ),
            environment=self.spec.environment, profile=self.spec.profile, station_seed=work.station_seed, speed=speed,
            verdict=Verdict(outcome=outcome, score=score, reason=word),
            end=EpisodeEnd.STATION_FAULT if outcome is Outcome.UNSCORED else end,
            steps=steps,
            reset=ResetReport(success=True, attempts=1, duration_s=0.5, asked={}, achieved={}, distance=0.0),
            reset_begin=clocks[0], rollout_begin=clocks[1], rollout_end=clocks[2], control_wall_s=control_s,
            policy_sha256="0" * 64,
        )  # fmt: skip
        self._done.setdefault(work.iteration, {})[idea, pool, seed] = record
        self._emit("episode", work.iteration, work.station, record.model_dump(mode="json"), at_s=clocks[2].wall_s)
        return self.costs.reset_s + control_s + self.costs.gap_s

    # Events ------------------------------------------------------------------------------------------------------

    def _stage(self, work: Work, stage: str, takes_s: float) -> Process:
        self._emit("stage_started", work.iteration, work.station, {"stage": stage})
        yield takes_s
        self._emit("stage_finished", work.iteration, work.station, {"stage": stage, "wall_s": takes_s})

    def _commit(self, name: str, parent: str | None, proposal: Proposal, station: str = "") -> None:
        idea = Idea(
            idea=name,
            commit=f"{abs(hash(name)):040x}"[:40],
            parent=parent,
            branch="research/offline",
            proposal=proposal,
        )
        self._emit("idea_committed", name, station, idea.model_dump(mode="json"))

    def _end(self, work: Work, status: IterationStatus) -> None:
        self._emit("iteration_ended", work.iteration, work.station, {"status": status.value, "detail": ""})

    def _draw(self, pool: SeedPool, n: int, purpose: str, iteration: str = "") -> tuple[int, ...]:
        seeds = tuple(next(self._seeds) for _ in range(n))
        self._emit("seeds_drawn", iteration, "", {"pool": pool.value, "seeds": list(seeds), "purpose": purpose})
        return seeds

    def _emit(
        self, kind: EventKind, iteration: str = "", station: str = "", data: dict[str, Any] | None = None,
        at_s: float | None = None,
    ) -> None:  # fmt: skip
        number = len(self.events) + 1
        event = Event(
            event_id=f"e{number}", kind=kind, campaign=self.spec.campaign, iteration=iteration, station=station,
            wall_s=self.now_s if at_s is None else at_s, data=data or {}, seq=number,
        )  # fmt: skip
        self.events.append(event)
        self.state.apply(event)


def kept_ideas(state: CampaignState) -> list[str]:
    """Ideas that became incumbent, without the baseline."""
    return [idea.idea for idea in state.ideas.values() if idea.decision is Decision.KEEP]
