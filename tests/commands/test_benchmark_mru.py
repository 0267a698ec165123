"""`nightlab benchmark mru` without a lab: what it makes of events, when the warm-up is over, bad input."""

from __future__ import annotations

from pathlib import Path

import pytest

from agents.recipe import read_recipe
from commands.benchmark_mru import START, Order, at_robots, figures, hand_overs, make_lab, predictions, warm
from commands.main import app
from data.campaign_state import CampaignState
from data.fleet_times import prepared_s
from data.synthetic import START_S, Costs, SyntheticCampaign
from nightlab.records import CampaignSpec, WorkKind


@pytest.fixture(scope="module")
def campaign() -> SyntheticCampaign:
    spec = CampaignSpec(budget_s=1500, speed=4, target=0.999, held_out_n=20)
    made = SyntheticCampaign(spec, seed=1, gives_up_at=100, costs=Costs(think_s=40.0, train_s=10.0))
    made.run()
    return made


def test_figures_are_those_of_the_measured_time_only(campaign: SyntheticCampaign) -> None:
    whole = figures(campaign.spec, campaign.events, (START_S, START_S + 1200), 30.0)
    part = figures(campaign.spec, campaign.events, (START_S + 200, START_S + 800), 30.0)
    assert (whole["stations"], whole["speed"], whole["minutes"]) == (2, 4, 80)
    assert part["minutes"] == 40
    assert part["mru"] > 0.9, "the start, when nobody had an idea, is left out"
    assert part["mru_rollout"] <= part["mru"] <= 1
    assert sum(part["split"].values()) == pytest.approx(1)
    assert part["split"]["reset"] + part["split"]["rollout"] == pytest.approx(part["mru"], abs=0.02)
    assert part["think_s"] == pytest.approx(160, rel=0.15), "in station seconds"
    assert part["train_s"] >= 30
    assert part["trial_s"] > 50
    assert 0 <= part["useful_share"] <= 1
    assert 0 < whole["filler_useful"] < 1, "some of the filler work entered decisions, data collection did not"
    assert part["warm_up_station_s"] == 800
    assert (part["late_share"], part["achieved_speed"]) == (0, pytest.approx(4))


def test_the_model_replays_the_run_with_each_ideas_own_time(campaign: SyntheticCampaign) -> None:
    found = figures(campaign.spec, campaign.events, (START_S + 200, START_S + 800), 30.0)
    at_a_robot = {event.iteration for event in campaign.events if event.kind == "dispatched"}
    tried = {event.iteration for event in campaign.events if event.kind == "episode"} & at_a_robot
    assert len(found["prepared_s"]) >= len(at_a_robot)
    assert len(found["tried_s"]) == len(tried) >= found["trials"]
    assert sum(found["tried_s"]) / len(found["tried_s"]) == pytest.approx(found["trial_s"], rel=0.1)
    assert found["prepared_s"][0] == pytest.approx(found["think_s"] + 40, rel=0.5), (
        "think and train, by the station's clock"
    )
    cut = CampaignState.from_events(campaign.spec, campaign.events[:600])
    unready = [w for w in cut.running if w.work.kind is WorkKind.SEARCH and not w.ready_s]
    assert unready
    assert min(work.claimed_s for work in unready) > cut.started_s + 10
    whole_s = (cut.now_s - cut.started_s) * 4
    assert prepared_s(cut)[-len(unready) :] == pytest.approx([whole_s] * len(unready)), "not ready, whenever it began"
    order = Order(2, 4, 40, "push_t", 30.0, 0, None)
    said = predictions(found, order, alone=False)
    assert said["replayed"]["mru"] == pytest.approx(found["mru"], abs=0.05)
    assert said["replayed"]["useful_share"] == pytest.approx(found["useful_share"], abs=0.05)
    assert said["mru_range"][0] <= said["mru"] <= said["mru_range"][1]
    assert f"--tried-s {found['tried_s'][0]:g}," in said["replayed"]["command"]
    assert "--tried-s" not in said["command"]


def test_trials_that_have_a_robot_at_the_end_are_waited_for(campaign: SyntheticCampaign) -> None:
    state = CampaignState(spec=campaign.spec)
    seen: set[str] = set()
    for event in campaign.events:
        state.apply(event)
        now = at_robots(state)
        seen |= now
        assert len(now) <= 4, "at the robot, or being decided"
        if event.kind == "iteration_ended":
            assert event.iteration not in now
    assert len(seen) == sum(event.kind == "dispatched" for event in campaign.events)


def test_a_gap_is_what_a_hand_over_costs_not_what_a_robot_waits_for_ideas(campaign: SyntheticCampaign) -> None:
    whole = START_S, START_S + 1200
    assert 10 < hand_overs(campaign.events, whole) < 100
    assert hand_overs(campaign.events, (START_S, START_S)) == 0
    found = figures(campaign.spec, campaign.events, whole, 30.0)
    assert found["gap_s"] * hand_overs(campaign.events, whole) == pytest.approx(found["split"]["lease"] * 2 * 4800)
    assert found["gap_s"] < 10


def test_the_warm_up_ends_when_every_robot_has_begun_an_idea(campaign: SyntheticCampaign) -> None:
    state = CampaignState(spec=campaign.spec)
    assert not warm(state, START_S, 30.0)
    placed: dict[str, int] = {}
    for at, event in enumerate(campaign.events):
        state.apply(event)
        if event.kind == "dispatched":
            placed.setdefault(event.station, at)
        if warm(state, event.wall_s, 1e9):
            break
    assert set(placed) == {"robot-1", "robot-2"}
    slow = CampaignState.from_events(campaign.spec, campaign.events[:60])
    assert warm(slow, START_S + 10_000, 30.0), "it does not wait for ever"


def test_its_lab_starts_with_a_policy_that_moves(tmp_path: Path) -> None:
    lab = make_lab(tmp_path / "lab", CampaignSpec(stations=3, speed=2))
    recipe = read_recipe(lab.research_dir / "push_t")
    assert START["push_t"].items() <= dict(recipe.modules).items()
    assert [station.station for station in lab.config.stations] == ["robot-1", "robot-2", "robot-3"]


@pytest.mark.parametrize("words", [("--minutes", "0"), ("--environment", "x"), ("--stations", "0"), ("--speed", "-1")])
def test_bad_input_is_one_line(words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        app(["benchmark", "mru", *words])
    err = capsys.readouterr().err
    assert caught.value.code == 2
    assert err.startswith("nightlab: ")
    assert len(err.strip().splitlines()) == 1
