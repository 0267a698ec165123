"""A campaign folded from its events: incumbent, ideas, results, work in progress, held-out draws, budgets. Pure.

Events it reads, with their `data`:

| kind | data |
|---|---|
| campaign_started | a CampaignSpec |
| idea_committed | an Idea; one without parent is the baseline |
| seeds_drawn | pool, seeds, purpose (`search` extends the search block; `confirm` belongs to the iteration) |
| work_claimed | a Work |
| station_up | a station flow began: what it had claimed before and not ended is handed out again |
| station_parked | reason: a reset used up its attempts; no work until `station_unparked`, what it held waits for it |
| stage_started | stage |
| note | waited_s: how long its work waited for a processor |
| dispatched | station: an idea's trial was given that robot |
| episode | an EpisodeRecord |
| judged | a Judgement and, where it differs from the iteration, `idea` |
| iteration_ended | status, detail |
| usage | a Usage |
| campaign_ended | reason |

Anything else is ignored. Replays (`I17.r1`) and evaluations from outside (work that was never claimed) enter nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from data.held_out import HeldOutDraw
from data.idea_state import IdeaState
from data.pairs import Result
from data.statistics import rate
from data.work_state import WorkState, elsewhere, work_key
from nightlab.records import (
    CampaignSpec,
    Decision,
    EpisodeRecord,
    Event,
    Idea,
    IdeaSummary,
    IterationStatus,
    Judgement,
    Outcome,
    Proposal,
    Rate,
    SeedPool,
    Work,
    WorkKind,
)

REFRESH_RATE = 0.3
"""A KEEP of an idea that succeeds this often makes the next trials use fresh search seeds."""
DECIDING = (SeedPool.SEARCH, SeedPool.CONFIRM)
"""Pools whose results researchers and decisions may see."""


@dataclass(slots=True)
class CampaignState:
    """Where a campaign stands. Build it with `from_events`, keep it current with `apply`."""

    spec: CampaignSpec
    baseline: str = "I0"
    incumbent: str = "I0"
    started_s: float = 0.0
    now_s: float = 0.0
    """Wall time of the latest event."""
    ended_reason: str | None = None
    ideas: dict[str, IdeaState] = field(default_factory=dict)
    kept: list[str] = field(default_factory=list)
    """Incumbents in order, the baseline first."""
    works: dict[str, WorkState] = field(default_factory=dict)
    """By `Work.iteration` and station, in order of the claims; see `work_key`."""
    search_block: list[int] = field(default_factory=list)
    """Search seeds in the order that every trial against this incumbent uses them.

    A new incumbent was chosen for its luck on the old ones, too, and would look better there than it is; so a KEEP
    starts a fresh block. As long as hardly anything succeeds the old block stays: score differences are large, and
    running the incumbent again would cost much.
    """
    confirm_seeds: dict[str, list[int]] = field(default_factory=dict)
    """Fresh seeds by iteration."""
    draws: dict[int, HeldOutDraw] = field(default_factory=dict)
    stations: dict[str, float] = field(default_factory=dict)
    """Wall time when each station was last heard of."""
    parked: dict[str, str] = field(default_factory=dict)
    """Stations that wait for a person, and why."""
    tokens: int = 0
    robot_s: float = 0.0
    """Station seconds in reset and rollout, all stations."""
    busy_wall_s: float = 0.0
    """The same in wall seconds."""
    episodes: int = 0
    unscored: int = 0
    _results: dict[str, dict[tuple[SeedPool, int, str], Result]] = field(default_factory=dict)
    _unscored: Counter[tuple[str, SeedPool]] = field(default_factory=Counter)
    _walls: dict[str, list[float]] = field(default_factory=dict)
    _ran: dict[str, list[tuple[str, tuple[SeedPool, int, str]]]] = field(default_factory=dict)
    """Which results an iteration brought: (idea, where), so that an INVALID one can be taken out again."""

    @classmethod
    def from_events(cls, spec: CampaignSpec, events: Iterable[Event]) -> CampaignState:
        """Fold events (in ledger order); those of other campaigns are skipped."""
        state = cls(spec=spec)
        for event in events:
            if not spec.campaign or event.campaign in ("", spec.campaign):
                state.apply(event)
        return state

    def apply(self, event: Event) -> None:
        """Fold one more event in."""
        self.now_s = max(self.now_s, event.wall_s)
        if event.station:
            self.stations[event.station] = event.wall_s
        match event.kind:
            case "campaign_started":
                self.started_s = event.wall_s
                if not self.spec.campaign:
                    self.spec = CampaignSpec.model_validate(event.data)
            case "campaign_ended":
                self.ended_reason = str(event.data.get("reason", "ended"))
            case "idea_committed":
                self._committed(Idea.model_validate(event.data), event)
            case "seeds_drawn":
                self._drawn(event)
            case "work_claimed":
                self._claimed(Work.model_validate(event.data), event)
            case "station_up":
                for work in self.running:
                    work.orphaned = work.orphaned or work.work.station == event.station
            case "station_parked":
                self.parked[event.station] = str(event.data.get("reason", ""))
                for work in self.running:
                    theirs = event.station in (work.work.station, work.place)
                    work.orphaned = work.orphaned or (theirs and not elsewhere(work, event.station))
            case "station_unparked":
                self.parked.pop(event.station, None)
            case "stage_started":
                for work in self._works_of(event):
                    work.stage, work.begun_s = str(event.data.get("stage", "")), work.begun_s or event.wall_s
                    if work.stage == "rollout":
                        work.ready_s = work.ready_s or event.wall_s
            case "note":
                for work in self._works_of(event):
                    work.waited_s += float(event.data.get("waited_s", 0.0))
            case "dispatched":
                for work in self._works_of(event):
                    work.place = event.station
            case "episode":
                self._episode(EpisodeRecord.model_validate(event.data))
            case "judged":
                self._judged(event)
            case "iteration_ended":
                self._ended(event)
            case "usage":
                self.tokens += (event.data.get("input_tokens") or 0) + (event.data.get("output_tokens") or 0)
            case _:
                pass

    # What others ask ---------------------------------------------------------------------------------------------

    @property
    def deadline_wall_s(self) -> float:
        """Wall time at which the budget is used up."""
        return self.started_s + self.spec.budget_s

    @property
    def solved(self) -> bool:
        """True once a complete held-out draw reached the target."""
        return any(draw.passed for draw in self.draws.values())

    @property
    def best(self) -> str:
        """The idea to hand over: the one that passed a held-out draw, else the incumbent."""
        return next((draw.idea for draw in self.draws.values() if draw.passed), self.incumbent)

    @property
    def held_out(self) -> HeldOutDraw | None:
        """The latest held-out draw."""
        return self.draws[max(self.draws)] if self.draws else None

    def held_out_of(self, idea: str) -> HeldOutDraw | None:
        """The draw to quote for an idea: the one that passed, else its latest, else the campaign's latest."""
        mine = [draw for draw in self.draws.values() if draw.idea == idea]
        passed = [draw for draw in mine if draw.passed]
        return (passed or mine)[-1] if mine else self.held_out

    @property
    def running(self) -> list[WorkState]:
        """Claimed work that has not ended."""
        return [work for work in self.works.values() if not work.ended and not work.orphaned]

    def stop_reason(self, now_s: float | None = None) -> str:
        """Why the campaign ends or ended; empty while there is a reason to go on."""
        now_s = self.now_s if now_s is None else now_s
        if self.solved:
            draw = next(draw for draw in self.draws.values() if draw.passed)
            return f"solved: {draw.idea} succeeded in {draw.rate.successes} of {draw.rate.n} held-out episodes"
        if self.ended_reason:
            return self.ended_reason
        if now_s >= self.deadline_wall_s:
            return f"the budget of {self.spec.budget_s:g} s is used up"
        if self.spec.robot_budget_s is not None and self.robot_s >= self.spec.robot_budget_s:
            return f"the robot budget of {self.spec.robot_budget_s:g} station seconds is used up"
        if any(draw.final and draw.complete for draw in self.draws.values()):
            return "the final held-out measurement is complete"
        return ""

    def result(self, idea: str, pool: SeedPool, seed: int, station: str | None = None) -> Result | None:
        """The result of an idea on a seed; with `station`, only if that station ran it."""
        return self.known(idea, (pool,), station).get(seed)

    def known(self, idea: str, pools: Iterable[SeedPool] = DECIDING, station: str | None = None) -> dict[int, Result]:
        """Results of an idea by seed. A scored one wins over an UNSCORED one; pools never share a seed."""
        found: dict[int, Result] = {}
        wanted = set(pools)
        for (pool, seed, where), result in self._results.get(idea, {}).items():
            if pool not in wanted or (station is not None and where != station):
                continue
            if seed not in found or found[seed].outcome is Outcome.UNSCORED:
                found[seed] = result
        return found

    def rate(self, idea: str, pools: Iterable[SeedPool] = DECIDING) -> Rate:
        """Success rate of an idea over pools. Attempts that stayed or were UNSCORED are counted beside."""
        wanted = tuple(pools)
        scored = [r for r in self.known(idea, wanted).values() if r.outcome is not Outcome.UNSCORED]
        return rate(scored, extra_unscored=sum(self._unscored[idea, pool] for pool in wanted))

    def fresh_rate(self, idea: str) -> Rate:
        """Success rate of an incumbent on the current search block and on confirmation seeds, not on older seeds."""
        block, known = set(self.search_block), self.known(idea, (SeedPool.SEARCH,))
        results = [known[seed] for seed in known if seed in block] + list(
            self.known(idea, (SeedPool.CONFIRM,)).values()
        )
        return rate(r for r in results if r.outcome is not Outcome.UNSCORED)

    def failure_histogram(self, idea: str | None = None) -> dict[str, int]:
        """Why the idea (default: the incumbent) failed in search and confirmation, most frequent first."""
        results = self.known(idea or self.incumbent).values()
        return dict(Counter(r.reason or "failed" for r in results if r.outcome is Outcome.FAILURE).most_common())

    def episode_wall_s(self, idea: str | None = None, default_s: float | None = None) -> float:
        """Mean wall seconds of the latest 40 episodes of an idea (default: the incumbent), from reset to the end."""
        walls = self._walls.get(idea or self.incumbent, [])[-40:]
        if walls:
            return sum(walls) / len(walls)
        return 30.0 / (self.spec.speed or 50.0) if default_s is None else default_s

    def summaries(self) -> tuple[IdeaSummary, ...]:
        """Every idea as a researcher may see it: no seeds, nothing from held-out episodes."""
        return tuple(self._summary(idea) for idea in self.ideas.values())

    @property
    def proposed(self) -> set[str]:
        """Ideas that are committed."""
        return {name for name, idea in self.ideas.items() if idea.commit}

    def begun(self, iteration: str) -> str:
        """The station at which an iteration's latest episode ran; empty before the first."""
        ran = self._ran.get(iteration)
        return ran[-1][1][2] if ran else ""

    def where(self, iteration: str) -> str:
        """The station at which an iteration's latest episode ran; before the first, the one that holds it."""
        if self.begun(iteration):
            return self.begun(iteration)
        works = (work for work in self.works.values() if work.work.iteration == iteration)
        return next((work.place or work.work.station for work in works), "")

    # How events change it ----------------------------------------------------------------------------------------

    def _idea(self, name: str) -> IdeaState:
        return self.ideas.setdefault(name, IdeaState(idea=name))

    def _committed(self, idea: Idea, event: Event) -> None:
        state = self._idea(idea.idea)
        state.parent, state.commit, state.proposal = idea.parent, idea.commit, idea.proposal
        state.station = state.station or event.station
        if idea.parent is None and not self.kept:
            self.baseline = self.incumbent = idea.idea
            self.kept.append(idea.idea)

    def _drawn(self, event: Event) -> None:
        pool, purpose = SeedPool(event.data["pool"]), str(event.data.get("purpose", ""))
        seeds = [int(seed) for seed in event.data["seeds"]]
        if pool is SeedPool.SEARCH and purpose == "search":
            self.search_block.extend(seed for seed in seeds if seed not in set(self.search_block))
        elif pool is SeedPool.CONFIRM:
            known = self.confirm_seeds.setdefault(event.iteration, [])
            known.extend(seed for seed in seeds if seed not in known)

    def _claimed(self, work: Work, event: Event) -> None:
        if work.kind in (WorkKind.WAIT, WorkKind.STOP):
            return
        key = work_key(work.iteration, work.station)
        before = self.works.get(key)
        self.works[key] = WorkState(work=work, claimed_s=event.wall_s, claims=before.claims + 1 if before else 1)
        if work.kind is WorkKind.SEARCH:
            idea = self._idea(work.iteration)
            idea.parent, idea.station = idea.parent or work.parent, work.station
        if work.kind is WorkKind.HELD_OUT:
            draw = self.draws.setdefault(
                work.draw,
                HeldOutDraw(work.draw, work.idea, work.planned_n or self.spec.held_out_n, self.spec.target, work.final),
            )
            draw.claim(work)

    def _works_of(self, event: Event) -> list[WorkState]:
        """The claimed works that an event speaks of: that of its station, or all of its iteration."""
        exact = self.works.get(work_key(event.iteration, event.station))
        if exact is not None:
            return [exact]
        return [work for work in self.works.values() if work.work.iteration == event.iteration]

    def _episode(self, record: EpisodeRecord) -> None:
        key, result = record.key, Result.of(record)
        self.episodes += 1
        self.unscored += result.outcome is Outcome.UNSCORED
        self.robot_s += max(0.0, record.rollout_end.station_s - record.reset_begin.station_s)
        self.busy_wall_s += max(0.0, record.rollout_end.wall_s - record.reset_begin.wall_s)
        if ".r" in key.iteration:
            return
        for work in self.works.values():
            if work.work.iteration == key.iteration:
                work.busy_s += max(0.0, record.rollout_end.wall_s - record.reset_begin.wall_s)
        if key.pool is SeedPool.HELD_OUT:
            for draw in self.draws.values():
                if draw.owns(key.iteration):
                    draw.add(key.seed, result)
        if result.outcome is Outcome.UNSCORED:
            self._unscored[key.idea, key.pool] += 1
        else:
            self._walls.setdefault(key.idea, []).append(record.rollout_end.wall_s - record.reset_begin.wall_s)
        mine = self._results.setdefault(key.idea, {})
        where = (key.pool, key.seed, key.station)
        if where not in mine or mine[where].outcome is Outcome.UNSCORED:
            mine[where] = result
            self._ran.setdefault(key.iteration, []).append((key.idea, where))

    def _judged(self, event: Event) -> None:
        fields: Mapping[str, object] = {k: v for k, v in event.data.items() if k not in ("idea", "iteration")}
        judgement = Judgement.model_validate(fields)
        idea = self._idea(str(event.data.get("idea") or event.iteration))
        idea.judgement, idea.status, idea.judged_s = judgement, IterationStatus.DECIDED, event.wall_s
        if judgement.decision is Decision.KEEP and idea.idea not in self.kept:
            self.kept.append(idea.idea)
            self.incumbent = idea.idea
            if judgement.candidate.successes >= REFRESH_RATE * judgement.candidate.n:
                self.search_block = []

    def _ended(self, event: Event) -> None:
        status = IterationStatus(event.data["status"])
        if status is IterationStatus.INVALID:
            self._forget(event.iteration)
        for work in self._works_of(event):
            work.ended, work.ended_s, work.status = True, event.wall_s, status
            if work.work.kind is WorkKind.HELD_OUT:
                self.draws[work.work.draw].end(work.work.iteration)
        idea = self.ideas.get(event.iteration)
        if idea is not None and idea.idea != self.baseline:
            idea.status, idea.detail = status, str(event.data.get("detail", ""))

    def _forget(self, iteration: str) -> None:
        """Take out what an INVALID iteration measured, its incumbent's episodes too: it enters no rate."""
        for idea, where in self._ran.pop(iteration, []):
            self._results.get(idea, {}).pop(where, None)
        for draw in self.draws.values():
            draw.forget(iteration)

    def _summary(self, idea: IdeaState) -> IdeaSummary:
        proposal = idea.proposal or Proposal.model_validate({"status": "ok", "researcher": ""})
        scored = self.rate(idea.idea)
        baseline = idea.idea == self.baseline
        return IdeaSummary(
            idea=idea.idea,
            parent=idea.parent,
            family=proposal.family,
            mutation=proposal.mutation,
            params=proposal.params,
            modules=proposal.modules,
            hypothesis=proposal.hypothesis,
            status=IterationStatus.EVALUATED if baseline else idea.status,
            decision=idea.decision,
            beats_parent=bool(idea.judgement and idea.judgement.beats_parent and idea.decision is not Decision.KEEP),
            n=scored.n,
            successes=scored.successes,
            mean_score=scored.mean_score,
            mean_steps=scored.mean_steps,
            failures=self.failure_histogram(idea.idea),
            researcher=proposal.researcher,
        )
