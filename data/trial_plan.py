"""The plan of one paired trial, and the decision about it: which seeds, against whom, what is known already."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from pydantic import Field

from data.campaign_state import CampaignState
from data.judge import FASTER_PAIRS, MIN_PAIRS, ConfirmVerdict, SearchVerdict, judge_confirm, judge_final, judge_search
from data.pairs import Pair, Result, make_pairs
from nightlab.errors import UsageError
from nightlab.records import Decision, EpisodeRecord, Judgement, Outcome, Record, SeedPool

Draw = Callable[[SeedPool, int, str], Sequence[int]]
"""`draw(pool, n, purpose)`: n fresh seeds of a pool, noted in the ledger as `seeds_drawn`."""
Done = Mapping[tuple[str, SeedPool, int], EpisodeRecord]
"""Episodes that a running trial has finished, by idea, pool and seed."""

MOST_SEARCH_N = 40
"""Search pairs at most, also when failures are rare."""
RARE_FAILURES = 3
"""Failures of the incumbent that a trial should be long enough to see."""


class TrialPlan(Record):
    """What a trial runs. For each seed: the candidate, and the incumbent where its result is not known yet."""

    campaign: str
    iteration: str
    idea: str
    incumbent: str
    parent: str = ""
    stale: bool = False
    """The candidate builds on an idea that is no longer the incumbent and has run nothing yet: better not to begin."""
    search_seeds: tuple[int, ...]
    """In the order to run them; the same seeds for every candidate, known results first."""
    confirm_seeds: tuple[int, ...] = ()
    """Fresh seeds that this iteration has drawn before (it was interrupted)."""
    known: dict[str, dict[int, Result]] = Field(default_factory=dict)
    """Results in the ledger by idea (candidate and incumbent) and seed, both pools."""
    search_n: int
    confirm_n: int
    min_pairs: int = MIN_PAIRS

    def knows(self, idea: str, pool: SeedPool, seed: int, done: Done) -> bool:
        """True if the episode is scored already, in the ledger or in this trial."""
        return (idea, pool, seed) in done or self.known.get(idea, {}).get(seed, _NONE).outcome is not Outcome.UNSCORED

    def pairs(self, done: Done, pool: SeedPool = SeedPool.SEARCH) -> list[Pair]:
        """The scored pairs so far, in the order of the seeds."""
        if pool is SeedPool.SEARCH:
            seeds: Sequence[int] = self.search_seeds
        else:
            seeds = list(dict.fromkeys([*self.confirm_seeds, *(key[2] for key in done if key[1] is pool)]))
        ours, theirs = self._results(self.idea, pool, done), self._results(self.incumbent, pool, done)
        return make_pairs(seeds, ours, theirs)[0]

    def search_verdict(self, done: Done, *, last: bool = False) -> SearchVerdict:
        """What the search stage says so far; `last` when no seed is left."""
        return judge_search(self.pairs(done), search_n=self.search_n, last=last)

    def confirm_verdict(self, done: Done) -> ConfirmVerdict:
        """What the confirmation says so far: stop at anything but CONTINUE."""
        return judge_confirm(self.pairs(done), self.pairs(done, SeedPool.CONFIRM), confirm_n=self.confirm_n)

    def rival(self, latest: TrialPlan, done: Done) -> TrialPlan:
        """The plan to go on with: `latest` where another idea has become the incumbent meanwhile that loses as well.

        It must lose clearly on the search seeds that both have run; else the trial is finished against its first rival.
        So a candidate that began against an earlier incumbent replaces a worse one, whatever that one has changed.
        """
        if latest.incumbent == self.incumbent or latest.search_verdict(done) is not SearchVerdict.PROMISING:
            return self
        return latest

    def _results(self, idea: str, pool: SeedPool, done: Done) -> dict[int, Result]:
        mine = {seed: Result.of(record) for (name, at, seed), record in done.items() if (name, at) == (idea, pool)}
        return {**self.known.get(idea, {}), **mine}


_NONE = Result(outcome=Outcome.UNSCORED, score=0.0, steps=0)


def trial_plan(state: CampaignState, iteration: str, idea: str, draw: Draw, station: str = "") -> TrialPlan:
    """The plan of the trial of `idea`, made when its station is free, from what the ledger knows by then.

    `station`: where it will run; empty: where its latest episode ran, or the station that asked for the idea.

    Raises:
        UsageError: if the campaign has no such idea.
    """
    candidate = state.ideas.get(idea)
    if candidate is None:
        raise UsageError.unknown("idea", idea, state.ideas, "nightlab tree")
    incumbent, where = state.incumbent, _where(state, iteration, station)
    search_n = search_pairs(state)
    block = search_block(state, search_n, draw)
    known = {name: state.known(name, station=where) for name in (idea, incumbent)}
    ran = set(known[idea])
    shared = {*block, *known[incumbent]}
    first = [seed for seed in state.known(idea, (SeedPool.SEARCH,), where) if seed in shared]
    rest = [seed for seed in block if seed not in ran]
    rest.sort(key=lambda seed: seed not in known[incumbent])
    return TrialPlan(
        campaign=state.spec.campaign,
        iteration=iteration,
        idea=idea,
        incumbent=incumbent,
        parent=candidate.parent or "",
        stale=candidate.parent != incumbent and not known[idea],
        search_seeds=tuple([*first, *rest][:search_n]),
        confirm_seeds=tuple(state.confirm_seeds.get(iteration, ())),
        known=known,
        search_n=search_n,
        confirm_n=max(state.spec.confirm_n, search_n // 2 if search_n > state.spec.search_n else 0),
    )


def judge_trial(state: CampaignState, iteration: str, idea: str = "") -> Judgement:
    """The decision about an iteration's idea, from the ledger alone.

    The candidate is compared with today's incumbent wherever they share seeds, so a trial that began against an
    earlier one can still end in KEEP. A win against its parent or an earlier incumbent alone is INCONCLUSIVE with
    `beats_parent`.

    Raises:
        UsageError: if the campaign has no such idea.
    """
    idea = idea or iteration
    candidate = state.ideas.get(idea)
    if candidate is None:
        raise UsageError.unknown("idea", idea, state.ideas, "nightlab tree")
    where = _where(state, iteration)
    rivals = [name for name in reversed(state.kept) if name != idea]
    judged = {name: _against(state, iteration, idea, name, where) for name in rivals}
    now = judged[rivals[0]]
    if now.decision is Decision.KEEP:
        return now
    earlier = [judged[name] for name in rivals[1:] if name == candidate.parent or judged[name].pairs > now.pairs]
    won = next((judgement for judgement in earlier if judgement.beats_parent), None)
    if won is not None:
        return won
    return now if now.pairs >= MIN_PAIRS or not earlier else max(earlier, key=lambda judgement: judgement.pairs)


def search_pairs(state: CampaignState) -> int:
    """Search pairs of a trial at most: more where the incumbent's failures have become rare, to see some of them."""
    rate = state.fresh_rate(state.incumbent)
    if rate.n < MIN_PAIRS or rate.successes < 0.5 * rate.n:
        return state.spec.search_n
    if rate.successes < 0.8 * rate.n:
        return max(state.spec.search_n, FASTER_PAIRS)
    rare = math.ceil(RARE_FAILURES * (rate.n + 1) / (rate.n - rate.successes + 1))
    return max(state.spec.search_n, min(MOST_SEARCH_N, rare))


def search_block(state: CampaignState, n: int, draw: Draw) -> list[int]:
    """The first `n` search seeds that all trials share; draws what is missing."""
    missing = n - len(state.search_block)
    if missing > 0:
        fresh = draw(SeedPool.SEARCH, missing, "search")
        known = set(state.search_block)
        state.search_block.extend(seed for seed in fresh if seed not in known)
    return state.search_block[:n]


def _where(state: CampaignState, iteration: str, station: str = "") -> str | None:
    """The station whose results a trial may use: its own where stations differ, any on identical ones."""
    if not state.spec.stations_differ:
        return None
    return station or state.where(iteration) or None


def _against(state: CampaignState, iteration: str, idea: str, rival: str, where: str | None) -> Judgement:
    ours_search, ours_confirm = (state.known(idea, (pool,), where) for pool in (SeedPool.SEARCH, SeedPool.CONFIRM))
    search, dropped = make_pairs(list(ours_search), ours_search, state.known(rival, (SeedPool.SEARCH,), where))
    fresh = state.confirm_seeds.get(iteration) or list(ours_confirm)
    confirm, lost = make_pairs(fresh, ours_confirm, state.known(rival, (SeedPool.CONFIRM,), where))
    return judge_final(
        search,
        confirm,
        against=rival,
        search_n=max(state.spec.search_n, len(ours_search)),
        confirm_n=max(state.spec.confirm_n, len(fresh)),
        stale=rival != state.incumbent,
        dropped=dropped + lost,
    )
