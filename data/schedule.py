"""What a station does next: baseline, search, qualification, held-out measurement. Pure, but for drawing seeds.

The campaign goes through phases that every claim finds out anew from the state:

1. BASELINE: the template on `baseline_n` search seeds, shared out over the stations.
2. SEARCH: trials of new ideas, as many in preparation as data/window.py asks for. While none is ready the station gets
   filler work: confirmation of the latest KEEP on fresh seeds, then re-evaluation of the incumbent on the seeds that
   longer trials will use, then data collection. It gives way between two episodes (data/dispatch.py).
3. REEVALUATE: an incumbent that looks solved runs more search seeds until a held-out draw would probably pass.
4. HELD_OUT: fresh seeds on stations sampled anew, in chunks, claimed by whichever station is free. Futile draws stop
   and the search goes on, with longer trials.
5. When the time left is just enough, or nothing is left to try: a final HELD_OUT draw of the incumbent, whatever it
   is worth.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable

from data.campaign_state import CampaignState
from data.held_out import HeldOutDraw
from data.pacing import DEFAULTS, ScheduleSettings, chance, final_due, final_n, gain_waits
from data.statistics import pass_probability
from data.trial_plan import MOST_SEARCH_N, Draw, TrialPlan, judge_trial, search_block, search_pairs, trial_plan
from data.window import affordable, enough, ready, trial_s
from data.work_state import WorkState
from nightlab.records import Outcome, SeedPool, Work, WorkKind

__all__ = [
    "Draw", "ScheduleSettings", "TrialPlan", "final_due", "judge_trial", "next_work", "stop_preparing", "stop_trial",
    "trial_plan",
]  # fmt: skip

PARKED_WAIT_S = 2.0
"""How long a parked station waits before it asks again whether a person has seen to it."""
FINAL = "it is time for the final held-out draw"


def next_work(
    state: CampaignState,
    station: str,
    now_s: float,
    draw: Draw,
    *,
    first_idea: int = 1,
    first_evaluation: int = 1,
    settings: ScheduleSettings = DEFAULTS,
    most_window: int = 0,
) -> Work:
    """The next work of a station.

    Args:
        state: the campaign so far; claims that the caller has handed out must be applied to it.
        station: who asks.
        now_s: wall time, seconds since the epoch.
        draw: draws fresh seeds; called for SEARCH (purpose `search`), HELD_OUT and STATION.
        first_idea: lowest idea number that is free in the lab.
        first_evaluation: lowest evaluation number that is free in the lab.
        settings: numbers of the schedule.
        most_window: ideas under way per station at most, as lab.yaml says; 0 = no limit.
    """
    desk = _Desk(state, station, now_s, draw, first_idea, first_evaluation, settings)
    reason = state.stop_reason(now_s)
    if reason:
        return desk.idle(WorkKind.STOP, reason)
    if station in state.parked:
        return desk.idle(WorkKind.WAIT, f"parked: {state.parked[station]}", wait_s=PARKED_WAIT_S)
    for ask in (desk.again, desk.busy, desk.baseline, desk.held_out, desk.anchor, desk.qualification):
        work = ask()
        if work is not None:
            return work
    reason = enough(state, station, now_s, most_window)
    if not reason:
        return desk.search()
    return desk.filler() or desk.idle(WorkKind.WAIT, reason, wait_s=min(2.0, max(0.25, trial_s(state) / 20)))


def stop_trial(state: CampaignState, iteration: str, now_s: float, *, settings: ScheduleSettings = DEFAULTS) -> str:
    """Why running work should stop before its next episode; empty to go on.

    Asked before every episode: the budget is over, the campaign is solved, a held-out draw is futile, the robots are
    needed for a held-out draw, or the idea was superseded before its trial began (ideas of the offline researcher only:
    they cost nothing to make again). Work that the campaign has not claimed (replays, evaluations) is never stopped.
    """
    claimed = next((work.work for work in state.works.values() if work.work.iteration == iteration), None)
    if claimed is None:
        return ""
    reason = state.stop_reason(now_s)
    if reason:
        return reason
    for held in state.draws.values():
        if held.owns(iteration):
            return "" if held.open else f"held-out draw {held.number} can no longer pass: {held.failures} failures"
    if any(held.open for held in state.draws.values()):
        return "the robots are needed for a held-out draw"
    if final_due(state, now_s, settings):
        return FINAL
    if claimed.filler and claimed.idea != state.incumbent:
        return f"{claimed.idea} was superseded by {state.incumbent}"
    idea = state.ideas.get(iteration)
    failed = any(held.idea == state.incumbent and held.futile for held in state.draws.values())
    if claimed.kind is not WorkKind.SEARCH or idea is None or state.spec.researcher != "offline":
        return ""
    if idea.parent != state.incumbent and not state.known(iteration):
        return f"{idea.parent} was superseded by {state.incumbent} before the trial began"
    if idea.parent != state.incumbent and not failed and chance(state) >= settings.likely_probability:
        return f"{idea.parent} was superseded by {state.incumbent}, which is being qualified"
    return ""


def stop_preparing(state: CampaignState, work: Work, now_s: float, *, settings: ScheduleSettings = DEFAULTS) -> str:
    """Why work that no robot has begun should go no further; empty to go on.

    Asked before every stage: past the campaign's end, and past the beginning of its final held-out draw for all that is
    not part of it, no trial begins, so to think, train and check would be for nothing.
    """
    if state.begun(work.iteration):
        return ""
    idle = work.kind is WorkKind.SEARCH or work.filler
    return state.stop_reason(now_s) or (FINAL if idle and final_due(state, now_s, settings) else "")


class _Desk:
    """One claim being answered."""

    def __init__(
        self,
        state: CampaignState,
        station: str,
        now_s: float,
        draw: Draw,
        first_idea: int,
        first_evaluation: int,
        settings: ScheduleSettings,
    ) -> None:
        self.state, self.station, self.now_s, self.draw, self.settings = state, station, now_s, draw, settings
        names = [work.work.iteration for work in state.works.values()] + list(state.ideas)
        self._idea = _next_number("I", names, first_idea)
        self._evaluation = _next_number("E", names, first_evaluation)

    @property
    def stations(self) -> int:
        return max(self.state.spec.stations, 1)

    @property
    def mine(self) -> list[WorkState]:
        return [work for work in self.state.running if work.work.station == self.station]

    # The phases --------------------------------------------------------------------------------------------------

    def again(self) -> Work | None:
        """Work of this station whose flow died: the same iteration, which finds its finished stages and episodes."""
        for work in self.state.works.values():
            mine = work.orphaned and not work.ended and work.work.station == self.station
            if not mine or work.claims >= self.settings.most_claims:
                continue
            if work.work.kind is not WorkKind.HELD_OUT:
                return work.work
            left = self._left(work.work)
            if left:
                return work.work.model_copy(update={"seeds": left})
        return None

    def _left(self, work: Work) -> tuple[int, ...]:
        """Seeds of a held-out chunk that nobody has measured or taken over meanwhile."""
        held = self.state.draws[work.draw]
        taken = {seed for other in self._chunks(held) if not other.orphaned for seed in other.work.seeds}
        return tuple(seed for seed in work.seeds if seed not in held.results and seed not in taken)

    def busy(self) -> Work | None:
        """A station prepares one evaluation while another one runs, not more."""
        bound = [w for w in self.mine if w.work.kind is not WorkKind.SEARCH and not w.work.filler]
        return self._wait("two evaluations are under way here") if len(bound) > 1 else None

    def baseline(self) -> Work | None:
        spec, state = self.state.spec, self.state
        if state.incumbent != state.baseline or any(work.work.kind is WorkKind.BASELINE for work in self.mine):
            return None
        block = search_block(state, max(spec.baseline_n, search_pairs(state)), self.draw)
        open_seeds = self._open_seeds(block[: spec.baseline_n])
        if not open_seeds:
            return None
        share = math.ceil(spec.baseline_n / self.stations)
        first = not any(work.work.iteration == state.baseline for work in state.works.values())
        return self._evaluate(
            WorkKind.BASELINE,
            state.baseline,
            SeedPool.SEARCH,
            open_seeds[:share],
            iteration=state.baseline if first else "",
            reason="where the search starts from",
        )

    def held_out(self) -> Work | None:
        state, settings = self.state, self.settings
        latest = state.held_out
        if latest is not None and latest.open:
            return self._chunk(latest) or self._wait("the held-out draw is being finished")
        if final_due(state, self.now_s, settings):
            planned = final_n(state, self.now_s, settings)
            final = HeldOutDraw(self._draw_number(), state.incumbent, planned, state.spec.target, final=True)
            return self._chunk(final)
        if self._qualified() and not self._failed_before():
            spec = state.spec
            return self._chunk(HeldOutDraw(self._draw_number(), state.incumbent, spec.held_out_n, spec.target))
        return None

    def anchor(self) -> Work | None:
        """A new incumbent on the first seeds of its fresh block, shared out, before trials begin to compare with it."""
        if self.state.incumbent == self.state.baseline or any(w.work.kind is WorkKind.REEVALUATE for w in self.mine):
            return None
        wanted = self.settings.anchor_n
        seeds = self._open_seeds(search_block(self.state, wanted, self.draw)[:wanted])
        if not seeds:
            return None
        share = math.ceil(wanted / self.stations)
        return self._evaluate(
            WorkKind.REEVALUATE,
            self.state.incumbent,
            SeedPool.SEARCH,
            seeds[:share],
            reason="new incumbent, fresh seeds",
        )

    def qualification(self) -> Work | None:
        waits = gain_waits(self.state) and affordable(self.state, [])
        if self._failed_before() or waits or chance(self.state) < self.settings.promising_probability:
            return None
        rate = self.state.fresh_rate(self.state.incumbent)
        needed = self._needed_n() - rate.n
        if needed <= 0 or self._needed_n() > self.settings.qualify_most_n:
            return None
        block = search_block(self.state, self._needed_n() + len(self._busy()), self.draw)
        left = needed - len(self._busy())
        if left <= 0:
            likely = chance(self.state) >= self.settings.likely_probability
            return self._wait("the incumbent is being qualified") if likely else None
        size = min(self.settings.reevaluate_n, max(4, math.ceil(left / self.stations)))
        seeds = self._open_seeds(block)[:size]
        if len(seeds) < size:
            seeds += self._open_seeds(search_block(self.state, len(self.state.search_block) + size, self.draw))[
                len(seeds) : size
            ]
        return self._evaluate(
            WorkKind.REEVALUATE, self.state.incumbent, SeedPool.SEARCH, seeds, reason="does the incumbent qualify?"
        )

    def filler(self) -> Work | None:
        """Something useful for a robot that no idea is ready for; see the module's first lines."""
        state, settings, n = self.state, self.settings, self.settings.filler_n
        others = [work for work in self.mine if work.work.kind is not WorkKind.SEARCH]
        begun = all(work.work.filler and work.busy_s > 0 for work in others)  # the next one is prepared meanwhile
        if not state.spec.filler or not begun or len(others) > 1 or ready(state):
            return None
        confirmed = len(state.known(state.incumbent, (SeedPool.CONFIRM,)))
        seeds: list[int] = []
        if state.incumbent != state.baseline and confirmed < settings.filler_confirm_n:
            pool, reason = SeedPool.CONFIRM, f"filler: confirmation of {state.incumbent} on fresh seeds"
            seeds = list(self.draw(SeedPool.CONFIRM, n, f"filler {state.incumbent}"))
        if not seeds:
            pool, reason = SeedPool.SEARCH, "filler: re-evaluation of the incumbent"
            seeds = self._open_seeds(search_block(state, MOST_SEARCH_N, self.draw))[:n]
        if not seeds:
            reason = "filler: data collection"
            seeds = list(self.draw(SeedPool.SEARCH, n, "data"))
        work = self._evaluate(WorkKind.REEVALUATE, state.incumbent, pool, seeds, reason=reason)
        return work.model_copy(update={"filler": True})

    def search(self) -> Work:
        return Work(
            kind=WorkKind.SEARCH,
            campaign=self.state.spec.campaign,
            iteration=f"I{self._idea}",
            station=self.station,
            parent=self.state.incumbent,
            reason="a new idea",
        )

    def idle(self, kind: WorkKind, reason: str, wait_s: float = 0.0) -> Work:
        campaign = self.state.spec.campaign
        return Work(kind=kind, campaign=campaign, station=self.station, reason=reason, wait_s=wait_s)

    # What they need ----------------------------------------------------------------------------------------------

    def _wait(self, reason: str) -> Work:
        return self.idle(WorkKind.WAIT, reason, wait_s=0.5)

    def _evaluate(
        self, kind: WorkKind, idea: str, pool: SeedPool, seeds: Iterable[int], *, iteration: str = "", reason: str = ""
    ) -> Work:
        return Work(
            kind=kind,
            campaign=self.state.spec.campaign,
            iteration=iteration or f"E{self._evaluation}",
            station=self.station,
            idea=idea,
            pool=pool,
            seeds=tuple(seeds),
            reason=reason,
        )

    def _chunk(self, held: HeldOutDraw) -> Work | None:
        """The next chunk of a draw; None when all of it is handed out."""
        missing = [*held.missing, *self._lost(held)]
        left = len(missing) + held.undrawn
        if not left:
            return None
        most = self.settings.varied_chunk_n if self.state.spec.stations_differ else self.settings.chunk_n
        size = min(most, max(4, math.ceil(left / (3 * self.stations))), left)
        seeds = missing[:size]
        if len(seeds) < size:
            seeds += self.draw(SeedPool.HELD_OUT, size - len(seeds), f"held_out {held.number}")
        reason = f"held-out draw {held.number}: {held.planned_n} fresh seeds" + (", final" if held.final else "")
        work = self._evaluate(WorkKind.HELD_OUT, held.idea, SeedPool.HELD_OUT, seeds, reason=reason)
        return work.model_copy(
            update={
                "draw": held.number,
                "planned_n": held.planned_n,
                "final": held.final,
                "station_seed": self.draw(SeedPool.STATION, 1, f"held_out {held.number}")[0],
            }
        )

    def _lost(self, held: HeldOutDraw) -> list[int]:
        """Seeds of a draw that wait at a station which has fallen silent or gives up on them."""
        chunks = [work for work in self.state.works.values() if work.work.draw == held.number and not work.ended]
        taken = {seed for work in self._chunks(held) for seed in work.work.seeds}
        seeds = dict.fromkeys(seed for work in chunks for seed in work.work.seeds)
        return [seed for seed in seeds if seed not in held.results and seed not in taken]

    def _chunks(self, held: HeldOutDraw) -> list[WorkState]:
        """Chunks of a draw that go on where they are: not ended or given up, their station neither silent nor parked."""
        chunks = [work for work in self.state.works.values() if work.work.draw == held.number and not work.ended]
        given_up = self.settings.most_claims
        return [work for work in chunks if self._there(work) and not (work.orphaned and work.claims >= given_up)]

    def _there(self, work: WorkState) -> bool:
        """Whether the station of a work is neither parked nor silent."""
        station = work.work.station
        heard_s = max(work.claimed_s, self.state.stations.get(station, 0.0))
        return station not in self.state.parked and self.now_s - heard_s <= self.settings.lost_s

    def _draw_number(self) -> int:
        return max(self.state.draws, default=0) + 1

    def _busy(self) -> set[int]:
        """Search seeds that evaluations of the incumbent hold, at stations that are there, and that have no result yet."""
        idea = self.state.incumbent
        known = self.state.known(idea, (SeedPool.SEARCH,))
        kinds = (WorkKind.BASELINE, WorkKind.REEVALUATE)
        evaluations = (w.work for w in self.state.running if w.work.kind in kinds and self._there(w))
        return {seed for work in evaluations if work.idea == idea for seed in work.seeds} - set(known)

    def _open_seeds(self, block: Iterable[int]) -> list[int]:
        """Seeds on which the incumbent has no scored result and nobody is getting one."""
        known, busy = self.state.known(self.state.incumbent, (SeedPool.SEARCH,)), self._busy()
        return [s for s in block if s not in busy and (s not in known or known[s].outcome is Outcome.UNSCORED)]

    def _failed_before(self) -> bool:
        """The incumbent has failed a held-out draw already."""
        return any(held.idea == self.state.incumbent and held.futile for held in self.state.draws.values())

    def _qualified(self) -> bool:
        enough = self.state.fresh_rate(self.state.incumbent).n >= self.settings.qualify_n
        return enough and chance(self.state) >= self._wanted_chance()

    def _wanted_chance(self) -> float:
        """Chance of passing that qualifies: less where a small draw makes it unreachable even without a failure."""
        n, spec = self.settings.qualify_n, self.state.spec
        return min(self.settings.qualify_probability, pass_probability(n, n, spec.held_out_n, spec.target) or 1.0)

    def _needed_n(self) -> int:
        """Search episodes with which the incumbent would qualify if it failed no more."""
        rate, spec = self.state.fresh_rate(self.state.incumbent), self.state.spec
        failures = rate.n - rate.successes
        for n in range(max(self.settings.qualify_n, rate.n), self.settings.qualify_most_n + 1):
            if pass_probability(n - failures, n, spec.held_out_n, spec.target) >= self._wanted_chance():
                return n
        return self.settings.qualify_most_n + 1


_AT_THE_ROBOT = ("rollout", "verify", "summarize")


def _next_number(letter: str, names: Iterable[str], lowest: int) -> int:
    numbers = (int(match[1]) for name in names if (match := re.fullmatch(rf"{letter}(\d+)", name)))
    return max(lowest, 1 + max(numbers, default=0))
