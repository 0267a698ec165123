from __future__ import annotations

import pytest

from data.pacing import MOST_OVERHEAD, final_n, held_out_s
from data.schedule import final_due, next_work, stop_preparing, stop_trial
from data.synthetic import START_S
from data.trial_plan import judge_trial, trial_plan
from nightlab.records import Decision, SeedPool, Work, WorkKind
from tests.data.schedule_bench import Bench, keep


def test_the_baseline_is_shared_out_and_then_ideas_are_asked_for() -> None:
    bench = Bench()
    one, two = bench.claim("robot-1"), bench.claim("robot-2")
    assert (one.kind, one.iteration, one.idea, len(one.seeds)) == (WorkKind.BASELINE, "I0", "I0", 10)
    assert (two.kind, two.iteration, len(two.seeds)) == (WorkKind.BASELINE, "E1", 10)
    assert not set(one.seeds) & set(two.seeds)
    three = bench.claim("robot-1")
    assert (three.kind, three.iteration, three.parent) == (WorkKind.SEARCH, "I1", "I0")


def test_numbers_start_where_the_lab_is() -> None:
    bench = Bench()
    bench.baseline()
    work = next_work(bench.state, "robot-1", START_S, bench.campaign._draw, first_idea=18, first_evaluation=5)
    assert work.iteration == "I18"


def test_a_missing_station_leaves_its_share_to_the_other() -> None:
    bench = Bench()
    bench.finish(bench.claim("robot-1"))
    more = bench.claim("robot-1")
    assert (more.kind, more.iteration, len(more.seeds)) == (WorkKind.BASELINE, "E1", 10)


def test_seeds_at_a_station_that_fell_silent_go_to_the_others() -> None:
    bench = Bench()
    bench.baseline(success=True)
    gone = bench.claim("robot-2")
    assert (gone.kind, gone.reason) == (WorkKind.REEVALUATE, "does the incumbent qualify?")
    at_s = 0.0
    while (work := bench.claim("robot-1", at_s)).kind is WorkKind.REEVALUATE:
        bench.finish(work, success=True)
        at_s = bench.campaign.now_s - START_S
    assert (work.kind, work.reason) == (WorkKind.WAIT, "the incumbent is being qualified"), "robot-2 is at it"
    taken_over = bench.claim("robot-1", 300)
    assert taken_over.kind is WorkKind.REEVALUATE
    assert set(taken_over.seeds) < set(gone.seeds)


def test_a_station_whose_ideas_only_think_gets_filler() -> None:
    bench = Bench()
    bench.baseline()
    assert [bench.claim("robot-1").kind for _ in range(2)] == [WorkKind.SEARCH] * 2, "two ideas while nothing is known"
    filler = bench.claim("robot-1")
    assert (filler.kind, filler.idea, filler.reason) == (
        WorkKind.REEVALUATE, "I0", "filler: re-evaluation of the incumbent",
    )  # fmt: skip
    assert filler.filler, "it gives way to any idea"
    assert not set(filler.seeds) & set(bench.state.known("I0"))
    assert bench.claim("robot-1").kind is WorkKind.WAIT, "one piece of filler work per station is enough"


def test_a_good_incumbent_is_qualified_and_then_measured_on_fresh_seeds_and_stations() -> None:
    bench = Bench()
    bench.baseline(success=True)
    works = []
    while (work := bench.claim("robot-1")).kind is WorkKind.REEVALUATE:
        works.append(work)
        bench.finish(work, success=True)
    assert bench.state.rate("I0").n >= 60
    assert (work.kind, work.pool, work.planned_n, work.draw) == (WorkKind.HELD_OUT, SeedPool.HELD_OUT, 400, 1)
    assert work.station_seed is not None
    other = bench.claim("robot-2")
    assert other.kind is WorkKind.HELD_OUT
    assert not set(work.seeds) & set(other.seeds)


def test_a_held_out_draw_that_passes_solves_the_campaign() -> None:
    bench = Bench(held_out_n=80, budget_s=6000)
    bench.baseline(success=True)
    chunks = 0
    while (work := bench.claim("robot-1")).kind is not WorkKind.STOP:
        bench.finish(work, success=True)
        chunks += work.kind is WorkKind.HELD_OUT
    assert chunks > 3
    assert bench.state.solved
    assert work.reason == "solved: I0 succeeded in 80 of 80 held-out episodes"


def test_a_futile_draw_stops_and_the_search_goes_on_with_longer_trials() -> None:
    bench = Bench(held_out_n=80, budget_s=6000)
    bench.baseline(success=True)
    while (work := bench.claim("robot-1")).kind is not WorkKind.HELD_OUT:
        bench.finish(work, success=True)
    assert stop_trial(bench.state, work.iteration, bench.campaign.now_s) == ""
    bench.episodes(work, "I0", work.seeds[:1], SeedPool.HELD_OUT, success=False)
    assert (
        stop_trial(bench.state, work.iteration, bench.campaign.now_s)
        == "held-out draw 1 can no longer pass: 1 failures"
    )
    bench.emit("iteration_ended", work.iteration, "robot-1", {"status": "evaluated"})
    assert bench.claim("robot-1", 200).kind is WorkKind.SEARCH
    bench.idea("I7")
    assert trial_plan(bench.state, "I7", "I7", bench.campaign._draw).search_n == 40


@pytest.mark.parametrize(("spec", "most"), [({}, 25), ({"profile": "real"}, 10), ({"real_stations": True}, 10)])
def test_a_held_out_draw_meets_many_stations_where_they_differ(spec: dict[str, object], most: int) -> None:
    bench = Bench(held_out_n=400, budget_s=6000, **spec)
    bench.baseline(success=True)
    while (work := bench.claim("robot-1")).kind is not WorkKind.HELD_OUT:
        bench.finish(work, success=True)
    assert len(work.seeds) == most


def test_seeds_of_a_chunk_that_broke_off_are_handed_out_again() -> None:
    bench = Bench(held_out_n=80, budget_s=6000)
    bench.baseline(success=True)
    while (work := bench.claim("robot-1")).kind is not WorkKind.HELD_OUT:
        bench.finish(work, success=True)
    bench.episodes(work, "I0", work.seeds[:3], SeedPool.HELD_OUT, success=True)
    bench.emit("iteration_ended", work.iteration, "robot-1", {"status": "stopped"})
    again = bench.claim("robot-2")
    assert again.seeds[: len(work.seeds) - 3] == work.seeds[3:][: len(again.seeds)]


def test_held_out_seeds_are_run_once_however_often_stations_park() -> None:
    bench = Bench(held_out_n=80, budget_s=6000)
    bench.baseline(success=True)
    while (first := bench.claim("robot-1")).kind is not WorkKind.HELD_OUT:
        bench.finish(first, success=True)
    second, third = bench.claim("robot-1"), bench.claim("robot-2")
    bench.episodes(first, "I0", first.seeds[:3], SeedPool.HELD_OUT, success=True)
    bench.emit("station_parked", station="robot-1", data={"reason": "the pin lies"})
    taken = bench.claim("robot-2")
    assert not set(taken.seeds) & {*first.seeds[:3], *third.seeds}, "what is measured or under way is not run again"
    assert set(taken.seeds) <= {*first.seeds[3:], *second.seeds}
    bench.campaign.now_s += 1000
    bench.episodes(third, "I0", third.seeds[:1], SeedPool.HELD_OUT, success=True)
    bench.emit("station_unparked", station="robot-1")
    back = bench.claim("robot-1", bench.campaign.now_s - START_S)
    assert back.iteration in (first.iteration, second.iteration)
    assert not set(back.seeds) & {*first.seeds[:3], *taken.seeds}, "what another station took over stays there"
    bench.emit("station_parked", station="robot-2", data={"reason": "the pin lies"})
    bench.finish(back, success=True)
    while not bench.state.solved:
        work = bench.claim("robot-1", bench.campaign.now_s - START_S)
        assert work.kind is WorkKind.HELD_OUT, work.reason
        assert not set(work.seeds) & set(bench.state.draws[1].results)
        assert len(work.seeds) == len(set(work.seeds))
        bench.finish(work, success=True)
    assert len(bench.state.draws[1].results) == 80


def test_the_final_draw_begins_when_the_time_left_is_just_enough_and_stops_running_trials() -> None:
    bench = Bench()
    bench.baseline()
    bench.idea("I1")
    assert not final_due(bench.state, START_S + 100)
    assert stop_trial(bench.state, "I1", START_S + 100) == ""
    assert stop_trial(bench.state, "I1", START_S + 590) == "it is time for the final held-out draw"
    work = bench.claim("robot-1", 560)
    assert (work.kind, work.final, work.idea) == (WorkKind.HELD_OUT, True, "I0")
    assert work.reason.endswith("fresh seeds, final")
    assert stop_trial(bench.state, "I1", START_S + 561) == "the robots are needed for a held-out draw"
    assert stop_trial(bench.state, work.iteration, START_S + 561) == ""


def test_a_researcher_without_ideas_ends_the_search() -> None:
    bench = Bench(budget_s=6000)
    bench.baseline()
    for number in range(4):
        bench.emit("work_claimed", f"I{number + 1}", "robot-1", {"kind": "search", "campaign": "C1",
                   "iteration": f"I{number + 1}", "station": "robot-1", "parent": "I0"})  # fmt: skip
        assert not final_due(bench.state, bench.campaign.now_s)
        bench.emit("iteration_ended", f"I{number + 1}", "robot-1", {"status": "no_change"})
    assert bench.claim("robot-1").final


def test_waiting_at_the_start_does_not_bring_the_final_draw_forward_but_waiting_all_along_does() -> None:
    bench = Bench()
    state = bench.state
    state.busy_wall_s, state.now_s = 6.0, START_S + 15  # of 30: the processes were starting
    early_s = held_out_s(state, 10)
    state.busy_wall_s, state.now_s = 12.0 * 100, START_S + 15 * 100  # of 3000: stations were parked
    assert held_out_s(state, 10) / early_s == pytest.approx((3120 / 1320) / (150 / 126), rel=0.01)
    state.busy_wall_s = 10.0
    assert held_out_s(state, 10) / state.episode_wall_s() * 2 / 10 == MOST_OVERHEAD


def test_the_final_draw_has_no_futility_stop() -> None:
    bench = Bench(held_out_n=20)
    bench.baseline()
    work = bench.claim("robot-1", 590)
    bench.finish(work)
    assert bench.claim("robot-1", 592).kind is WorkKind.HELD_OUT


def test_everything_stops_when_the_budget_is_over() -> None:
    bench = Bench()
    bench.baseline()
    work = bench.claim("robot-1", 601)
    assert (work.kind, work.reason) == (WorkKind.STOP, "the budget of 600 s is used up")
    assert stop_trial(bench.state, "I0", START_S + 601) == "the budget of 600 s is used up"


def test_the_robot_budget_counts_station_time() -> None:
    bench = Bench(robot_budget_s=50)
    bench.baseline()
    assert bench.claim("robot-1").reason == "the robot budget of 50 station seconds is used up"


def test_replays_are_never_stopped() -> None:
    bench = Bench()
    bench.baseline()
    assert stop_trial(bench.state, "I0.r1", START_S + 9999) == ""


def test_orphaned_work_is_handed_out_again_first() -> None:
    bench = Bench()
    bench.baseline()
    work = bench.claim("robot-1")
    bench.emit("station_up", station="robot-1")
    again = bench.claim("robot-1")
    assert again == work


def test_an_offline_idea_whose_parent_was_superseded_is_not_begun() -> None:
    bench = Bench()
    bench.baseline()
    keep(bench, "I1")
    bench.idea("I2", parent="I0")
    assert stop_trial(bench.state, "I2", bench.campaign.now_s) == "I0 was superseded by I1 before the trial began"
    assert trial_plan(bench.state, "I2", "I2", bench.campaign._draw).stale


def test_a_keep_makes_an_incumbent_and_a_fresh_block() -> None:
    bench = Bench()
    bench.baseline()
    old = list(bench.state.search_block)
    keep(bench, "I1")
    assert bench.state.incumbent == "I1"
    assert bench.state.ideas["I1"].decision is Decision.KEEP
    work = bench.claim("robot-1")
    assert (work.kind, work.idea, work.reason) == (WorkKind.REEVALUATE, "I1", "new incumbent, fresh seeds")
    assert not set(work.seeds) & set(old)


def test_while_hardly_anything_succeeds_the_block_stays() -> None:
    bench = Bench()
    bench.baseline()
    old = list(bench.state.search_block)
    keep(bench, "I1", success=False)
    assert bench.state.incumbent == "I1"
    assert bench.state.search_block == old


def a_gain_that_came_second(**spec: float) -> Bench:
    """I1 was kept; I2 beat I0, too, and nobody has tried its change on I1."""
    bench = Bench(**spec)
    bench.baseline()
    work = bench.idea("I2", station="robot-2")
    plan = trial_plan(bench.state, "I2", "I2", bench.campaign._draw)
    bench.episodes(work, "I2", plan.search_seeds[:10], SeedPool.SEARCH, False, score=0.6)
    keep(bench, "I1")
    bench.emit("judged", "I2", "robot-2", judge_trial(bench.state, "I2").model_dump(mode="json"))
    bench.emit("iteration_ended", "I2", "robot-2", {"status": "decided"})
    assert bench.state.ideas["I2"].judgement.beats_parent
    for station in ("robot-1", "robot-2"):
        bench.finish(bench.claim(station), success=True)  # the new incumbent's first fresh seeds
    return bench


def test_a_gain_that_came_second_is_tried_before_the_incumbent_is_qualified() -> None:
    bench = a_gain_that_came_second()
    asked = bench.claim("robot-1")
    assert (asked.kind, asked.parent) == (WorkKind.SEARCH, "I1")
    other = bench.claim("robot-2")
    assert (other.kind, other.reason) == (WorkKind.REEVALUATE, "does the incumbent qualify?"), "one idea, not more"


def test_without_tokens_for_another_idea_the_incumbent_is_qualified_as_it_is() -> None:
    bench = a_gain_that_came_second(token_budget=1000)
    bench.emit("usage", "I2", "robot-2", {"input_tokens": 900, "output_tokens": 90})
    assert bench.claim("robot-1").reason == "does the incumbent qualify?"


def test_an_exhausted_researcher_does_not_cut_short_the_trial_that_runs() -> None:
    bench = Bench()
    bench.baseline()
    under_way = bench.idea("I1")
    for number in range(2, 7):
        nothing = Work(kind=WorkKind.SEARCH, campaign="C1", iteration=f"I{number}", station="robot-2", parent="I0")
        bench.emit("work_claimed", nothing.iteration, "robot-2", nothing.model_dump(mode="json"))
        bench.emit("iteration_ended", nothing.iteration, "robot-2", {"status": "no_change"})
    assert not final_due(bench.state, bench.campaign.now_s)
    assert stop_trial(bench.state, "I1", bench.campaign.now_s) == ""
    bench.emit("iteration_ended", under_way.iteration, "robot-1", {"status": "decided"})
    assert final_due(bench.state, bench.campaign.now_s)


def test_an_exhausted_researcher_does_not_cut_short_the_baseline() -> None:
    bench = Bench()
    one, two = bench.claim("robot-1"), bench.claim("robot-2")
    bench.finish(one)
    for number in range(1, 6):
        nothing = Work(kind=WorkKind.SEARCH, campaign="C1", iteration=f"I{number}", station="robot-1", parent="I0")
        bench.emit("work_claimed", nothing.iteration, "robot-1", nothing.model_dump(mode="json"))
        bench.emit("iteration_ended", nothing.iteration, "robot-1", {"status": "no_change"})
    assert not final_due(bench.state, bench.campaign.now_s)
    assert stop_trial(bench.state, two.iteration, bench.campaign.now_s) == ""
    bench.finish(two)
    assert final_due(bench.state, bench.campaign.now_s)


def test_the_final_draw_is_never_larger_than_what_was_asked_for() -> None:
    bench = Bench(held_out_n=10)
    bench.baseline()
    assert final_n(bench.state, bench.campaign.now_s) == 10
    assert final_n(bench.state, bench.state.deadline_wall_s) == 10
    bench = Bench(held_out_n=100)
    bench.baseline()
    assert final_n(bench.state, bench.state.deadline_wall_s) == 20, "what no longer fits is begun all the same"


def test_no_robot_waits_for_what_is_not_prepared_by_the_end() -> None:
    bench = Bench(held_out_n=10, budget_s=600)
    bench.baseline()
    begun, idle = bench.idea("I1"), bench.idea("I2")
    bench.episodes(begun, "I1", [1], SeedPool.SEARCH, success=False)
    now_s = bench.campaign.now_s
    assert [stop_preparing(bench.state, work, now_s) for work in (begun, idle)] == ["", ""]
    final = bench.claim("robot-1", 590)
    assert (final.kind, final.final) == (WorkKind.HELD_OUT, True)
    at_s = bench.campaign.now_s
    assert stop_preparing(bench.state, idle, at_s) == "it is time for the final held-out draw"
    assert stop_preparing(bench.state, begun, at_s) == stop_preparing(bench.state, final, at_s) == ""
    over = "the budget of 600 s is used up"
    assert [stop_preparing(bench.state, work, at_s + 10) for work in (begun, idle, final)] == ["", over, over]
