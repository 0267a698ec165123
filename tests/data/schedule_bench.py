"""A campaign's state that tests of the schedule move by hand, through real events."""

from __future__ import annotations

from collections.abc import Sequence

from data.campaign_state import CampaignState
from data.schedule import next_work
from data.synthetic import START_S, SyntheticCampaign
from data.trial_plan import judge_trial, trial_plan
from nightlab.records import CampaignSpec, EventKind, Outcome, Proposal, ProposalStatus, SeedPool, Work, WorkKind


class Bench:
    """A state that is moved by hand, through real events."""

    def __init__(self, **spec: object) -> None:
        self.campaign = SyntheticCampaign(CampaignSpec.model_validate({"campaign": "C1", "budget_s": 600, **spec}))
        self.state: CampaignState = self.campaign.state
        self.emit("campaign_started", data=self.campaign.spec.model_dump(mode="json"))
        self.campaign._commit("I0", None, Proposal(status=ProposalStatus.OK, researcher="template"))

    def emit(
        self, kind: EventKind, iteration: str = "", station: str = "", data: dict[str, object] | None = None
    ) -> None:
        self.campaign._emit(kind, iteration, station, data or {})

    def claim(self, station: str, at_s: float = 0.0) -> Work:
        self.campaign.now_s = START_S + at_s
        work = next_work(self.state, station, self.campaign.now_s, self.campaign._draw)
        if work.kind not in (WorkKind.WAIT, WorkKind.STOP):
            self.emit("work_claimed", work.iteration, station, work.model_dump(mode="json"))
        return work

    def idea(self, name: str, parent: str = "I0", station: str = "robot-1") -> Work:
        """A claimed and committed idea."""
        work = Work(kind=WorkKind.SEARCH, campaign="C1", iteration=name, station=station, parent=parent)
        self.emit("work_claimed", name, station, work.model_dump(mode="json"))
        self.campaign.recipes[name] = self.campaign.recipes["I0"]
        self.campaign._commit(name, parent, Proposal(status=ProposalStatus.OK, researcher="offline"), station)
        return work

    def episodes(
        self, work: Work, idea: str, seeds: Sequence[int], pool: SeedPool, success: bool, score: float = 0.3
    ) -> None:
        outcome = Outcome.SUCCESS if success else Outcome.FAILURE
        for seed in seeds:
            self.campaign._record(
                work, idea, pool, seed, 0, (outcome, 0.96 if success else score, 100, "" if success else "rotated")
            )
            self.campaign.now_s += 1

    def finish(self, work: Work, success: bool = False) -> None:
        self.episodes(work, work.idea, work.seeds, work.pool or SeedPool.SEARCH, success)
        self.emit("iteration_ended", work.iteration, work.station, {"status": "evaluated", "detail": ""})

    def baseline(self, success: bool = False) -> None:
        for station in ("robot-1", "robot-2"):
            self.finish(self.claim(station), success)


def keep(bench: Bench, name: str, success: bool = True) -> None:
    """Run a trial of an idea that wins every pair, and judge it."""
    work = bench.idea(name)
    plan = trial_plan(bench.state, name, name, bench.campaign._draw)
    bench.episodes(work, name, plan.search_seeds[:10], SeedPool.SEARCH, success, score=0.8)
    seeds = bench.campaign._draw(SeedPool.CONFIRM, plan.confirm_n, "confirm", name)
    bench.episodes(work, name, seeds[:5], SeedPool.CONFIRM, success, score=0.8)
    bench.episodes(work, plan.incumbent, seeds[:5], SeedPool.CONFIRM, False)
    bench.emit("judged", name, "robot-1", judge_trial(bench.state, name).model_dump(mode="json"))
    bench.emit("iteration_ended", name, "robot-1", {"status": "decided"})
