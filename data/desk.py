"""The keeper's desk: appends to the ledger, keeps campaigns folded, draws seeds, hands out work. Nothing slow."""

from __future__ import annotations

import re
import time
from collections import Counter
from typing import Any

from data.campaign_state import CampaignState
from data.dispatch import BOUND, FILLER, IDEA
from data.lab import Lab
from data.ledger import SqliteLedger
from data.schedule import TrialPlan, judge_trial, next_work, stop_trial, trial_plan
from data.seeds import SeedSource, campaign_key, load_key
from data.work_state import WorkState
from nightlab.errors import UsageError
from nightlab.processes import ProcessId
from nightlab.records import (
    CampaignSpec,
    Checkpoint,
    EpisodeRecord,
    Event,
    EventKind,
    Idea,
    Judgement,
    Outcome,
    SeedPool,
    Work,
    WorkKind,
)


class Desk:
    """All that the keeper knows without git. One thread; every method returns within milliseconds."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.ledger = SqliteLedger(lab.ledger_path)
        self._key = load_key(lab.key_path)
        self._states: dict[str, CampaignState] = {}
        self._drawn: Counter[tuple[str, SeedPool]] = Counter()
        self._holders: dict[tuple[str, str, str], str] = {}
        """Who holds a claimed work: (campaign, iteration, station) → `pid.start_ticks` of the station flow."""
        self._highest = {"I": -1, "E": 0}
        for event in self.ledger.events():
            self._note(event)

    # Ledger ------------------------------------------------------------------------------------------------------

    def append(self, event: Event) -> tuple[int, bool]:
        """Append; the second value tells whether the row is new."""
        seq, fresh = self.ledger.append_new(event)
        if fresh:
            event = event.model_copy(update={"seq": seq})
            self._note(event)
            state = self._states.get(event.campaign)
            if state is not None:
                state.apply(event)
        return seq, fresh

    def write(
        self,
        kind: EventKind,
        event_id: str,
        data: dict[str, Any],
        *,
        campaign: str = "",
        iteration: str = "",
        station: str = "",
    ) -> bool:
        """Append an event of our own, stamped now; False if the id was there already."""
        return self.append(
            Event(
                event_id=event_id, kind=kind, campaign=campaign, iteration=iteration, station=station,
                wall_s=time.time(), data=data,
            )
        )[1]  # fmt: skip

    def episode(self, record: EpisodeRecord, *, recovered: bool = False) -> bool:
        """The row of a durable episode; False if it is there already."""
        key = record.key
        where = {"campaign": key.campaign, "iteration": key.iteration, "station": key.station}
        name = key.text()
        fresh = self.write("episode", f"episode:{name}", record.model_dump(mode="json"), **where)
        if fresh and recovered:
            self.write("recovered", f"recovered:{name}", {"episode": name, "from": "spool"}, **where)
        return fresh

    def _note(self, event: Event) -> None:
        """Keep the counters current."""
        if event.kind == "seeds_drawn":
            self._drawn[event.campaign, SeedPool(event.data["pool"])] += len(event.data["seeds"])
        elif event.kind == "work_claimed":
            self._holders[event.campaign, event.iteration, event.station] = event.event_id.split(":")[1]
            self._number(event.iteration)
        elif event.kind == "idea_committed":
            self._number(event.data["idea"])

    def _number(self, name: str) -> None:
        match = re.fullmatch(r"([IE])(\d+)", name)
        if match:
            self._highest[match[1]] = max(self._highest[match[1]], int(match[2]))

    # Campaigns ---------------------------------------------------------------------------------------------------

    def specs(self) -> dict[str, CampaignSpec]:
        """Every campaign of the lab by name, oldest first."""
        started = self.ledger.events(kind="campaign_started")
        return {event.campaign: CampaignSpec.model_validate(event.data) for event in started}

    def new_name(self) -> str:
        """`C1` for the first campaign of the lab, and so on."""
        names = [int(name[1:]) for name in self.specs() if re.fullmatch(r"C\d+", name)]
        return f"C{max(names, default=0) + 1}"

    def next_idea(self) -> str:
        """The lowest idea name that is free in the lab; `I0` in a new one."""
        return f"I{self._highest['I'] + 1}"

    def state(self, campaign: str) -> CampaignState:
        """The campaign folded from its events, kept current.

        Raises:
            UsageError: there is no such campaign.
        """
        if campaign not in self._states:
            specs = self.specs()
            if campaign not in specs:
                raise UsageError.unknown("campaign", campaign, specs, "nightlab status")
            events = self.ledger.events(campaign=campaign)
            self._states[campaign] = CampaignState.from_events(specs[campaign], events)
        return self._states[campaign]

    def environment(self, campaign: str) -> str:
        """The environment of a campaign; that of the lab for work outside any."""
        return self.state(campaign).spec.environment if campaign else self.lab.config.environment

    def idea(self, name: str) -> Idea | None:
        """A committed idea of the lab, or None."""
        for event in self.ledger.events(kind="idea_committed"):
            if event.data["idea"] == name:
                return Idea.model_validate(event.data)
        return None

    def campaign_of(self, idea: str) -> str:
        """The campaign that an idea was committed in; empty if there is none."""
        found = (e.campaign for e in self.ledger.events(kind="idea_committed") if e.data["idea"] == idea)
        return next(found, "")

    # Work --------------------------------------------------------------------------------------------------------

    def claim(self, campaign: str, station: str, holder: str, request: str) -> Work:
        """The next work of a station. What a dead station flow left behind is handed out again first."""
        event_id = f"work_claimed:{holder}:{request}"
        done = self.ledger.get(event_id)
        if done is not None:
            return Work.model_validate(done.data)
        state, now_s = self.state(campaign), time.time()
        work = None if state.stop_reason(now_s) else self._orphan(state, station, holder)
        if work is None:
            work = next_work(
                state, station, now_s, lambda pool, n, purpose: self._draw(campaign, "", pool, n, purpose),
                first_idea=self._highest["I"] + 1, first_evaluation=self._highest["E"] + 1,
                most_window=self.lab.config.window,
            )  # fmt: skip
            work = self._unshared(state, work)
        if work.kind not in (WorkKind.WAIT, WorkKind.STOP):
            where = {"campaign": campaign, "iteration": work.iteration, "station": station}
            self.write("work_claimed", event_id, work.model_dump(mode="json"), **where)
        return work

    def _unshared(self, state: CampaignState, work: Work) -> Work:
        """An iteration belongs to one station: a second station's share of the baseline is an evaluation of its own."""
        shared = any(
            w.work.iteration == work.iteration and w.work.station != work.station for w in state.works.values()
        )
        if not work.iteration or not shared:
            return work
        return work.model_copy(update={"iteration": f"E{self._highest['E'] + 1}"})

    def _orphan(self, state: CampaignState, station: str, holder: str) -> Work | None:
        """Work of this station whose flow is dead."""
        for running in state.running:
            work = running.work
            if work.station != station:
                continue
            held_by = self._holders.get((work.campaign, work.iteration, work.station), "")
            if held_by != holder and not _alive(held_by):
                return work
        return None

    def dispatched(self, campaign: str, iteration: str, station: str) -> None:
        """Note that an idea's trial was given a robot."""
        work = self._claimed(campaign, iteration)
        if work is not None and work.work.kind is WorkKind.SEARCH and work.place != station:
            self.write(
                "dispatched", f"dispatched:{campaign}:{iteration}:{time.time_ns()}", {"origin": work.work.station},
                campaign=campaign, iteration=iteration, station=station,
            )  # fmt: skip

    def rank(self, campaign: str, iteration: str) -> int:
        """How urgent a piece of work is; see data/dispatch.py."""
        work = self._claimed(campaign, iteration)
        if work is None or (work.work.kind is not WorkKind.SEARCH and not work.work.filler):
            return BOUND
        return FILLER if work.work.filler else IDEA

    def _claimed(self, campaign: str, iteration: str) -> WorkState | None:
        works = self.state(campaign).works.values()
        return next((work for work in works if work.work.iteration == iteration), None)

    def trial_plan(self, campaign: str, iteration: str, idea: str, station: str = "") -> TrialPlan:
        """What the trial of an iteration runs."""
        draw = lambda pool, n, purpose: self._draw(campaign, iteration, pool, n, purpose)  # noqa: E731
        return trial_plan(self.state(campaign), iteration, idea, draw, station)

    def stop_trial(self, campaign: str, iteration: str) -> str:
        """Why a trial should stop before its next episode; empty to go on."""
        return stop_trial(self.state(campaign), iteration, time.time())

    def draw(self, campaign: str, iteration: str, pool: SeedPool, n: int, purpose: str) -> tuple[int, ...]:
        """`n` fresh seeds for an iteration. The same question gets the same seeds, so a trial can be continued."""
        known: list[int] = []
        for event in self.ledger.events(campaign=campaign, kind="seeds_drawn", iteration=iteration):
            if event.data["pool"] == pool.value and event.data["purpose"] == purpose:
                known += event.data["seeds"]
        if len(known) < n:
            known += self._draw(campaign, iteration, pool, n - len(known), purpose)
        return tuple(known[:n])

    def _draw(self, campaign: str, iteration: str, pool: SeedPool, n: int, purpose: str) -> tuple[int, ...]:
        start = self._drawn[campaign, pool]
        source = SeedSource(campaign_key(self._key, campaign, self.state(campaign).spec.seed))
        seeds = source.draw(pool, start, n)
        data = {"pool": pool.value, "purpose": purpose, "start": start, "seeds": list(seeds)}
        self.write(
            "seeds_drawn", f"seeds_drawn:{campaign}:{pool.value}:{start}", data, campaign=campaign, iteration=iteration
        )
        return seeds

    def finished(self, iteration: str, idea: str) -> list[tuple[str, int]]:
        """Pool and seed of the scored episodes that the iteration has of an idea."""
        found = []
        for event in self.ledger.events(kind="episode", iteration=iteration):
            key, verdict = event.data["key"], event.data["verdict"]
            if key["idea"] == idea and verdict["outcome"] != Outcome.UNSCORED.value:
                found.append((key["pool"], key["seed"]))
        return found

    # Results -----------------------------------------------------------------------------------------------------

    def checkpoint(self, idea: str) -> Checkpoint:
        """The latest checkpoint of an idea.

        Raises:
            UsageError: it was never trained.
        """
        found = [e for e in self.ledger.events(kind="checkpoint") if e.data["idea"] == idea]
        if not found:
            known = {e.data["idea"] for e in self.ledger.events(kind="checkpoint")}
            raise UsageError.unknown("trained idea", idea, known, f"nightlab replay {idea} --from train")
        return Checkpoint.model_validate({k: v for k, v in found[-1].data.items() if k != "idea"})

    def judge(self, campaign: str, iteration: str) -> tuple[Judgement, bool]:
        """The decision about an iteration's idea, taken once; the second value is False if it had been taken."""
        event_id = f"judged:{campaign}:{iteration}"
        done = self.ledger.get(event_id)
        if done is not None:
            return Judgement.model_validate(done.data), False
        judgement = judge_trial(self.state(campaign), iteration)
        self.write("judged", event_id, judgement.model_dump(mode="json"), campaign=campaign, iteration=iteration)
        return judgement, True

    def end_iteration(self, campaign: str, iteration: str, status: str, detail: str, station: str) -> bool:
        """Note an iteration's end; without a station, for the one that holds it."""
        if not station and campaign:
            holders = {w.work.station for w in self.state(campaign).running if w.work.iteration == iteration}
            station = holders.pop() if len(holders) == 1 else ""
        event_id = f"iteration_ended:{campaign}:{iteration}:{station}:{status}"
        data = {"status": status, "detail": detail}
        return self.write("iteration_ended", event_id, data, campaign=campaign, iteration=iteration, station=station)

    def replay(self, campaign: str, iteration: str, station: str, from_stage: str, request: str) -> Work:
        """A new iteration `I17.r1` on the seeds of `I17`; it enters no decision."""
        event_id = f"replay:{request}"
        done = self.ledger.get(event_id)
        if done is not None:
            return Work.model_validate(done.data["work"])
        state = self.state(campaign)
        origin = iteration.split(".r")[0]
        claimed = next((w.work for w in state.works.values() if w.work.iteration == origin), None)
        if claimed is None:
            known = [w.work.iteration for w in state.works.values()]
            raise UsageError.unknown("iteration", iteration, known, "nightlab tree")
        notes = self.ledger.events(campaign=campaign, kind="note")
        number = 1 + sum(e.data.get("replay_of") == origin for e in notes)
        idea = claimed.idea or (origin if self.idea(origin) is not None else "")
        pool, seeds = self._ran(origin, idea)
        # It never ran: the seeds of today's trials, or, right after a KEEP, those that the template was measured on.
        usual = state.search_block or list(state.known(state.baseline, (SeedPool.SEARCH,)))
        work = claimed.model_copy(
            update={
                "kind": WorkKind.REEVALUATE, "iteration": f"{origin}.r{number}", "station": station, "idea": idea,
                "pool": pool, "seeds": seeds or tuple(usual[:10]), "draw": 0, "planned_n": 0,
                "reason": f"replay of {iteration} from {from_stage}",
            }
        )  # fmt: skip
        data = {"text": work.reason, "replay_of": origin, "work": work.model_dump(mode="json")}
        self.write("note", event_id, data, campaign=campaign, iteration=work.iteration, station=station)
        return work

    def _ran(self, iteration: str, idea: str) -> tuple[SeedPool, tuple[int, ...]]:
        """The pool and seeds that an iteration ran its idea on: the search ones where there are several pools."""
        by_pool: dict[SeedPool, dict[int, None]] = {}
        for event in self.ledger.events(kind="episode", iteration=iteration):
            key = event.data["key"]
            if key["idea"] == idea:
                by_pool.setdefault(SeedPool(key["pool"]), {})[key["seed"]] = None
        pool = next((pool for pool in SeedPool if pool in by_pool), SeedPool.SEARCH)
        return pool, tuple(by_pool.get(pool, {}))


def _alive(holder: str) -> bool:
    """True while the process `pid.start_ticks` runs on this host."""
    match = re.fullmatch(r"(\d+)\.(\d+)", holder)
    return match is not None and ProcessId(pid=int(match[1]), start_ticks=int(match[2])).alive
