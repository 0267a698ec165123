from __future__ import annotations

from typing import Any

import pytest

from data.campaign_state import CampaignState
from data.synthetic import SyntheticCampaign
from data.testing import scripted_record
from nightlab.records import CampaignSpec, Decision, Event, IterationStatus, Outcome, SeedPool, Work, WorkKind


@pytest.fixture(scope="module")
def campaign() -> SyntheticCampaign:
    made = SyntheticCampaign(CampaignSpec(budget_s=600), seed=6, insight=4, gives_up_at=150, unscored_share=0.02)
    made.run()
    return made


def test_folding_at_once_and_step_by_step_give_the_same(campaign: SyntheticCampaign) -> None:
    folded = CampaignState.from_events(campaign.spec, campaign.events)
    assert folded.incumbent == campaign.state.incumbent
    assert folded.kept == campaign.state.kept
    assert folded.search_block == campaign.state.search_block
    assert folded.summaries() == campaign.state.summaries()
    assert {n: d.rate for n, d in folded.draws.items()} == {n: d.rate for n, d in campaign.state.draws.items()}


def test_the_baseline_is_the_first_incumbent(campaign: SyntheticCampaign) -> None:
    assert campaign.state.kept[0] == campaign.state.baseline == "I0"
    assert campaign.state.rate("I0").n >= campaign.spec.baseline_n


def test_an_incumbent_is_the_latest_kept_idea(campaign: SyntheticCampaign) -> None:
    state = campaign.state
    kept = [
        idea.idea for idea in sorted(state.ideas.values(), key=lambda i: i.judged_s) if idea.decision is Decision.KEEP
    ]
    assert state.kept == ["I0", *kept]
    assert state.incumbent == kept[-1]


def test_unscored_attempts_are_counted_and_replaced(campaign: SyntheticCampaign) -> None:
    state = campaign.state
    assert state.unscored > 0
    assert (
        sum(state.rate(idea).unscored for idea in state.ideas) + sum(d.unscored for d in state.draws.values())
        == state.unscored
    )
    assert all(r.outcome is not Outcome.UNSCORED for idea in state.ideas for r in state.known(idea).values())


def test_summaries_show_no_seeds_and_nothing_held_out(campaign: SyntheticCampaign) -> None:
    state = campaign.state
    drawn = state.held_out
    assert drawn is not None
    shown = {summary.idea: summary for summary in state.summaries()}
    assert shown[drawn.idea].n == state.rate(drawn.idea).n
    assert not set(drawn.seeds) & set(state.known(drawn.idea))
    text = "".join(summary.model_dump_json() for summary in shown.values())
    assert not any(str(seed) in text for seed in drawn.seeds[:5])


def test_results_of_replays_enter_nothing(campaign: SyntheticCampaign) -> None:
    state = CampaignState.from_events(campaign.spec, campaign.events)
    episode = next(event for event in campaign.events if event.kind == "episode")
    again = episode.data | {"key": episode.data["key"] | {"iteration": "I0.r1", "seed": 77}}
    before = state.rate("I0")
    state.apply(episode.model_copy(update={"event_id": "again", "data": again}))
    assert state.rate("I0") == before
    assert state.result("I0", SeedPool.SEARCH, 77) is None


def test_a_restarted_station_flow_leaves_orphans_that_do_not_count_as_running() -> None:
    made = SyntheticCampaign(CampaignSpec(budget_s=300), seed=1)
    events = made.run()
    first = next(i for i, event in enumerate(events) if event.kind == "work_claimed")
    state = CampaignState.from_events(made.spec, events[: first + 1])
    assert len(state.running) == 1
    robot = state.running[0].work.station
    state.apply(Event(event_id="up", kind="station_up", campaign="C1", station=robot, wall_s=state.now_s))
    assert state.running == []
    assert next(iter(state.works.values())).orphaned


def test_other_campaigns_are_skipped(campaign: SyntheticCampaign) -> None:
    spec = campaign.spec.model_copy(update={"campaign": "C2"})
    assert CampaignState.from_events(spec, campaign.events).episodes == 0


def test_an_iteration_that_ended_without_a_decision_keeps_its_status(campaign: SyntheticCampaign) -> None:
    stopped = [idea for idea in campaign.state.ideas.values() if idea.status is IterationStatus.STOPPED]
    assert all(idea.decision is None for idea in stopped)


def test_an_invalid_iteration_enters_no_rate() -> None:
    def event(kind: str, iteration: str, number: int, data: dict[str, Any]) -> Event:
        return Event.model_validate(
            {"event_id": f"{kind}{number}", "kind": kind, "campaign": "C1", "iteration": iteration, "wall_s": float(number),
             "station": "robot-1", "data": data}
        )  # fmt: skip

    work = Work(
        kind=WorkKind.HELD_OUT, campaign="C1", iteration="E1", station="robot-1", idea="I1", seeds=(7, 8), draw=1
    )
    events = [event("work_claimed", "E1", 1, work.model_dump(mode="json"))]
    for seed in (7, 8):
        record = scripted_record(seed, iteration="E1", idea="I1", pool=SeedPool.HELD_OUT)
        events.append(event("episode", "E1", seed, record.model_dump(mode="json")))
    search = scripted_record(3, iteration="I2", idea="I1")
    events.append(event("episode", "I2", 30, search.model_dump(mode="json")))
    state = CampaignState.from_events(CampaignSpec(campaign="C1"), events)
    assert (state.rate("I1").n, len(state.draws[1].results)) == (1, 2)
    state.apply(event("iteration_ended", "E1", 40, {"status": "invalid", "detail": "a frozen file was changed"}))
    assert (state.rate("I1").n, len(state.draws[1].results)) == (1, 0)
    assert set(state.draws[1].missing) == {7, 8}
    state.apply(event("iteration_ended", "I2", 41, {"status": "invalid", "detail": "a frozen file was changed"}))
    assert state.rate("I1").n == 0
