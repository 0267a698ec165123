from __future__ import annotations

import pytest

from data.metrics import Metrics, measure, utilisation_now
from data.spans import covered_s, minus, split_idle, union
from data.synthetic import START_S, SyntheticCampaign
from data.synthetic_model import Recipe
from nightlab.records import CampaignSpec, Event, WorkKind


@pytest.fixture(scope="module")
def campaign() -> SyntheticCampaign:
    made = SyntheticCampaign(CampaignSpec(budget_s=400), seed=3, insight=3, gives_up_at=150)
    made.run()
    return made


@pytest.fixture(scope="module")
def metrics(campaign: SyntheticCampaign) -> Metrics:
    return measure(campaign.spec, campaign.events)


def changed(events: list[Event], **fields: object) -> list[Event]:
    """The same events with fields of every episode changed."""
    return [e.model_copy(update={"data": e.data | fields}) if e.kind == "episode" else e for e in events]


def test_union_and_minus_of_spans() -> None:
    assert union([(3, 5), (0, 1), (4, 6), (6, 6)]) == [(0, 1), (3, 6)]
    assert minus([(0, 10)], [(2, 3), (5, 20)]) == [(0, 2), (3, 5)]
    assert covered_s([(0, 2), (5, 6)]) == 3


def test_mru_agrees_with_counting_seconds(campaign: SyntheticCampaign, metrics: Metrics) -> None:
    busy_s = sum(
        e.data["rollout_end"]["wall_s"] - e.data["reset_begin"]["wall_s"]
        for e in campaign.events
        if e.kind == "episode"
    )
    assert metrics.mru == pytest.approx(busy_s / 2 / metrics.wall_s, abs=1e-3)
    assert metrics.mru_rollout is not None
    assert 0.5 < metrics.mru_rollout < metrics.mru
    assert metrics.mru_reason == ""


def test_the_split_adds_up_and_agrees_with_mru(metrics: Metrics) -> None:
    assert sum(metrics.split.values()) == pytest.approx(1.0)
    assert metrics.split["reset"] + metrics.split["rollout"] == pytest.approx(metrics.mru, abs=1e-3)
    assert set(metrics.stations) == {"robot-1", "robot-2"}


def renamed(event: Event) -> Event:
    """The same event at a station called `bench`, if it was at `robot-1`."""
    if event.station != "robot-1":
        return event
    data = event.data | {"key": event.data["key"] | {"station": "bench"}} if event.kind == "episode" else event.data
    return event.model_copy(update={"station": "bench", "data": data})


def test_stations_are_called_what_the_lab_calls_them(campaign: SyntheticCampaign, metrics: Metrics) -> None:
    found = measure(campaign.spec, [renamed(event) for event in campaign.events])
    assert found.stations == {"bench": metrics.stations["robot-1"], "robot-2": metrics.stations["robot-2"]}
    assert found.mru == pytest.approx(metrics.mru)


def test_a_station_that_never_took_work_counts_as_idle(campaign: SyntheticCampaign, metrics: Metrics) -> None:
    found = measure(campaign.spec.model_copy(update={"stations": 3}), campaign.events)
    assert metrics.mru is not None
    assert found.mru == pytest.approx(metrics.mru * 2 / 3)
    assert sum(found.stations["robot-3"].values()) == pytest.approx(1.0)


def test_mru_is_unknown_when_the_host_was_too_slow(campaign: SyntheticCampaign) -> None:
    spec = campaign.spec.model_copy(update={"speed": 11.0})
    found = measure(spec, campaign.events)
    assert found.mru is None
    assert found.mru_rollout is None
    assert found.mru_reason == "the host was too slow: 10.00× of 11× real time achieved"


def test_mru_is_unknown_when_actions_were_late(campaign: SyntheticCampaign) -> None:
    found = measure(campaign.spec, changed(campaign.events, late=3, steps=100))
    assert found.mru is None
    assert found.mru_reason == "3.0% of the actions were late"


def test_at_full_speed_the_share_is_one_of_wall_time(campaign: SyntheticCampaign, metrics: Metrics) -> None:
    found = measure(campaign.spec.model_copy(update={"speed": 0.0}), campaign.events)
    assert found.mru == pytest.approx(metrics.mru, abs=1e-3)


def test_a_campaign_without_episodes_has_no_mru() -> None:
    spec = CampaignSpec(campaign="C1")
    started = Event(
        event_id="a", kind="campaign_started", campaign="C1", wall_s=START_S, data=spec.model_dump(mode="json")
    )
    found = measure(spec, [started])
    assert (found.mru, found.mru_reason, found.useful_share, found.tokens.total) == (None, "no episodes", None, None)


def test_useful_share_leaves_out_what_entered_nothing(campaign: SyntheticCampaign, metrics: Metrics) -> None:
    assert metrics.useful_share is not None
    assert 0.5 < metrics.useful_share <= 1.0
    undecided = [event for event in campaign.events if event.kind != "judged"]
    fewer = measure(campaign.spec, undecided).useful_share
    assert fewer is not None
    assert fewer < metrics.useful_share


def test_idle_time_is_put_down_to_the_stage_nearest_to_the_robot() -> None:
    def event(kind: str, at_s: float, stage: str, iteration: str) -> Event:
        return Event.model_validate(
            {"event_id": f"{kind}{at_s}{stage}", "kind": kind, "wall_s": at_s, "station": "robot-1",
             "iteration": iteration, "data": {"stage": stage}}
        )  # fmt: skip

    events = [
        event("stage_started", 0, "propose", "I1"), event("stage_finished", 4, "propose", "I1"),
        event("stage_started", 2, "train", "I2"), event("stage_finished", 5, "train", "I2"),
        event("station_fault", 8, "", "I2"),
    ]  # fmt: skip
    split = split_idle(events, "robot-1", [], 0, 10)
    assert split["think"] == pytest.approx(0.2)
    assert split["train"] == pytest.approx(0.3)
    assert split["fault"] == pytest.approx(0.2)
    assert split["other"] == pytest.approx(0.3)


def test_tokens_are_added_up_and_unknown_stays_unknown(campaign: SyntheticCampaign) -> None:
    usage = {"input_tokens": 1000, "cached_tokens": 400, "output_tokens": 200, "exact": True}
    events = [
        e.model_copy(update={"data": usage}) if e.kind == "usage" else e for e in campaign.events
    ]  # fmt: skip
    thoughts = sum(e.kind == "usage" for e in events)
    tokens = measure(campaign.spec, events).tokens
    assert (tokens.total, tokens.cached) == (1200 * thoughts, 400 * thoughts)
    assert tokens.per_minute_uncached == pytest.approx(800 * thoughts / (measure(campaign.spec, events).wall_s / 60))
    silent = [e for e in campaign.events if e.kind != "usage"]
    assert measure(campaign.spec, silent).tokens.total is None


def test_time_to_success_is_that_of_the_last_held_out_episode() -> None:
    made = SyntheticCampaign(CampaignSpec(budget_s=900), seed=7)
    good = {"choose": "rollout", "route": "around", "drive": "stop", "endgame": "fine"}
    made.recipes["I0"] = Recipe(Recipe().modules | good)
    events = made.run()
    found = measure(made.spec, events)
    assert made.state.solved
    assert found.time_to_success_s is not None
    assert 0 < found.time_to_success_s <= found.wall_s
    assert any(work.work.kind is WorkKind.HELD_OUT for work in made.state.works.values())
    assert found.robot_hours_to_success == pytest.approx(found.station_s / 3600, rel=0.05)


def test_the_live_view_sees_how_busy_the_robots_are(campaign: SyntheticCampaign, metrics: Metrics) -> None:
    assert utilisation_now(campaign.state) == pytest.approx(metrics.mru, abs=0.02)
