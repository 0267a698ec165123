"""What a trial runs, against whom, and what is decided when the incumbent has changed meanwhile."""

from __future__ import annotations

import pytest

from data.trial_plan import judge_trial, trial_plan
from nightlab.errors import UsageError
from nightlab.records import Decision, SeedPool
from tests.data.schedule_bench import Bench, keep


def test_a_plan_uses_what_is_known_first_and_can_be_continued() -> None:
    bench = Bench()
    bench.baseline()
    work = bench.idea("I1")
    plan = trial_plan(bench.state, "I1", "I1", bench.campaign._draw)
    assert len(plan.search_seeds) == plan.search_n == 20
    assert all(plan.knows("I0", SeedPool.SEARCH, seed, {}) for seed in plan.search_seeds)
    assert not plan.knows("I1", SeedPool.SEARCH, plan.search_seeds[0], {})
    bench.episodes(work, "I1", plan.search_seeds[:4], SeedPool.SEARCH, True)
    again = trial_plan(bench.state, "I1", "I1", bench.campaign._draw)
    assert again.search_seeds == plan.search_seeds
    assert len(again.pairs({})) == 4
    assert type(again).model_validate_json(again.model_dump_json()) == again


@pytest.mark.parametrize("spec", [{"profile": "real"}, {"real_stations": True}])
def test_on_stations_that_differ_only_their_own_results_are_paired(spec: dict[str, object]) -> None:
    bench = Bench(**spec)
    bench.baseline()
    bench.idea("I1", station="robot-2")
    plan = trial_plan(bench.state, "I1", "I1", bench.campaign._draw)
    assert len(plan.known["I0"]) == 10
    assert [seed in plan.known["I0"] for seed in plan.search_seeds] == [True] * 10 + [False] * 10


def test_a_trial_that_began_against_a_former_incumbent_is_compared_with_both() -> None:
    bench = Bench()
    bench.baseline()
    work = bench.idea("I2", station="robot-2")
    plan = trial_plan(bench.state, "I2", "I2", bench.campaign._draw)
    bench.episodes(work, "I2", plan.search_seeds[:10], SeedPool.SEARCH, False, score=0.6)
    keep(bench, "I1")
    judgement = judge_trial(bench.state, "I2")
    assert judgement.decision is Decision.INCONCLUSIVE
    assert judgement.beats_parent
    assert judgement.against == "I0"


@pytest.mark.parametrize(("success", "against"), [(True, "I1"), (False, "I0")])
def test_a_trial_goes_on_against_a_new_incumbent_that_loses_too(success: bool, against: str) -> None:
    bench = Bench()
    bench.baseline()
    work = bench.idea("I2", station="robot-2")
    plan = trial_plan(bench.state, "I2", "I2", bench.campaign._draw)
    bench.episodes(work, "I2", plan.search_seeds[:10], SeedPool.SEARCH, success, score=0.6)
    assert plan.rival(trial_plan(bench.state, "I2", "I2", bench.campaign._draw), {}) is plan
    keep(bench, "I1", success=False)
    rival = plan.rival(trial_plan(bench.state, "I2", "I2", bench.campaign._draw), {})
    assert rival.incumbent == against
    assert rival.search_seeds[:10] == plan.search_seeds[:10], "what has run counts"
    seeds = bench.campaign._draw(SeedPool.CONFIRM, plan.confirm_n, "confirm", "I2")
    bench.episodes(work, "I2", seeds[:5], SeedPool.CONFIRM, success, score=0.6)
    bench.episodes(work, against, seeds[:5], SeedPool.CONFIRM, False)
    judgement = judge_trial(bench.state, "I2")
    assert (judgement.decision is Decision.KEEP, judgement.against) == (success, against)
    assert judgement.beats_parent


def test_unknown_ideas_are_named() -> None:
    bench = Bench()
    with pytest.raises(UsageError, match="unknown idea 'I9'; there are: I0"):
        trial_plan(bench.state, "I9", "I9", bench.campaign._draw)
    with pytest.raises(UsageError, match="unknown idea 'I9'"):
        judge_trial(bench.state, "I9")
