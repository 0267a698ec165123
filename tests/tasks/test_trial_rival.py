"""A trial whose rival is no longer the incumbent goes on against the new one, where that one loses as well."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, cast

from data.judge import ConfirmVerdict, SearchVerdict
from data.pairs import Result
from data.trial_plan import TrialPlan
from nightlab.records import CampaignSpec, Outcome, SeedPool, StationPlace
from tasks.trial import Trial
from tasks.trial_job import PolicyFiles, TrialJob
from tasks.trial_sink import MemorySink

SEEDS = tuple(range(1, 11))


def results(success: bool) -> dict[int, Result]:
    outcome = Outcome.SUCCESS if success else Outcome.FAILURE
    return {seed: Result(outcome=outcome, score=0.5, steps=100) for seed in SEEDS}


def plan(incumbent: str, *, wins: bool = True) -> TrialPlan:
    known = {"I3": results(True), incumbent: results(not wins)}
    return TrialPlan(
        campaign="C1", iteration="I3", idea="I3", incumbent=incumbent, parent="I0", search_seeds=SEEDS, known=known,
        search_n=20, confirm_n=12,
    )  # fmt: skip


class Sink(MemorySink):
    """Another plan at each question; the last one for good."""

    def __init__(self, *plans: TrialPlan) -> None:
        super().__init__()
        self.plans = list(plans)

    async def trial_plan(self, campaign: str, iteration: str, idea: str, station: str = "") -> TrialPlan:
        return self.plans.pop(0) if len(self.plans) > 1 else self.plans[0]

    async def policy_files(self, idea: str) -> dict[str, Any]:
        return PolicyFiles(idea=idea, code_dir="", checkpoint_dir="", sha256="").model_dump(mode="json")

    async def draw(self, campaign: str, iteration: str, pool: SeedPool, n: int, purpose: str) -> tuple[int, ...]:
        return tuple(range(100, 100 + n))


class Told(Trial):
    """Tells against whom it ran which seeds; every confirmation ends with `confirmed`."""

    def __init__(self, sink: Sink, confirmed: ConfirmVerdict) -> None:
        job = TrialJob(
            campaign=CampaignSpec(campaign="C1"), iteration="I3", place=StationPlace(station="robot-1", address=""),
            keeper_socket="", verifier_socket="", candidate=PolicyFiles(idea="I3", code_dir="", checkpoint_dir="", sha256=""),
            compare=True,
        )  # fmt: skip
        super().__init__(job, sink, cast(Any, None))
        self.confirmed = confirmed
        self.ran: list[tuple[str, SeedPool, int]] = []

    async def _until(
        self, plan: TrialPlan, incumbent: PolicyFiles, pool: SeedPool, seeds: Sequence[int], verdict: Any
    ) -> Any:
        assert incumbent.idea == plan.incumbent
        self.ran.append((incumbent.idea, pool, seeds[0]))
        return SearchVerdict.PROMISING if pool is SeedPool.SEARCH else self.confirmed


def ran(*plans: TrialPlan, confirmed: ConfirmVerdict = ConfirmVerdict.KEEP) -> list[tuple[str, SeedPool, int]]:
    async def body() -> list[tuple[str, SeedPool, int]]:
        trial = Told(Sink(*plans[1:]), confirmed)
        assert await trial._compare(plans[0]) == f"{confirmed.value} on fresh seeds"
        return trial.ran

    return asyncio.run(asyncio.wait_for(body(), 10))


SEARCH, CONFIRM = SeedPool.SEARCH, SeedPool.CONFIRM


def test_the_same_incumbent_is_met_once() -> None:
    assert ran(plan("I0"), plan("I0")) == [("I0", SEARCH, 1), ("I0", CONFIRM, 100)]


def test_a_new_incumbent_that_loses_is_met_instead() -> None:
    assert ran(plan("I0"), plan("I1")) == [("I0", SEARCH, 1), ("I1", CONFIRM, 100)]


def test_a_new_incumbent_during_confirmation_is_met_on_the_same_fresh_seeds() -> None:
    found = ran(plan("I0"), plan("I0"), plan("I1"))
    assert found == [("I0", SEARCH, 1), ("I0", CONFIRM, 100), ("I1", CONFIRM, 100)]


def test_a_new_incumbent_that_is_as_good_is_left_to_the_judge() -> None:
    assert ran(plan("I0"), plan("I1", wins=False)) == [("I0", SEARCH, 1), ("I0", CONFIRM, 100)]


def test_what_was_not_confirmed_meets_nobody_else() -> None:
    found = ran(plan("I0"), plan("I0"), plan("I1"), confirmed=ConfirmVerdict.INCONCLUSIVE)
    assert found == [("I0", SEARCH, 1), ("I0", CONFIRM, 100)]
