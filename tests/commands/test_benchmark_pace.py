from __future__ import annotations

import pytest

from commands.benchmark_pace import LOOK_AFTER_S, SLOWEST, SPEEDS, TooFast, check_speed, first_speed, slower
from data.synthetic import START_S, Costs, SyntheticCampaign
from nightlab.records import CampaignSpec, Event

SPEED = 4.0


@pytest.fixture(scope="module")
def campaign() -> SyntheticCampaign:
    """At the speed that it declares, 1200 wall seconds long."""
    spec = CampaignSpec(budget_s=1500, speed=SPEED, target=0.999, held_out_n=20)
    made = SyntheticCampaign(spec, seed=1, gives_up_at=100, costs=Costs(think_s=40.0, train_s=10.0))
    made.run()
    return made


def on_a_host_that_carries(campaign: SyntheticCampaign, share: float) -> list[Event]:
    """The same events with so much less station time in each rollout."""
    events = []
    for event in campaign.events:
        if event.kind == "episode":
            begin, end = event.data["rollout_begin"], event.data["rollout_end"]
            station_s = begin["station_s"] + share * (end["station_s"] - begin["station_s"])
            data = {**event.data, "rollout_end": {**end, "station_s": station_s}}
            events.append(event.model_copy(update={"data": data}))
        else:
            events.append(event)
    return events


def test_a_host_that_carries_the_speed_is_left_alone(campaign: SyntheticCampaign) -> None:
    check_speed(campaign.spec, campaign.events, START_S + 800, warm=True)
    check_speed(campaign.spec, on_a_host_that_carries(campaign, 0.97), START_S + 800, warm=True)
    check_speed(campaign.spec, on_a_host_that_carries(campaign, 0.85), START_S + 800, warm=False)


def test_a_host_that_does_not_is_told_the_speed_that_it_gets_next(campaign: SyntheticCampaign) -> None:
    events = on_a_host_that_carries(campaign, 0.75)
    for warm in (True, False):
        with pytest.raises(TooFast, match=r"2 stations at 4× come to 3.00× on this host; once more at 2.25×") as caught:
            check_speed(campaign.spec, events, START_S + 800, warm=warm)
        assert caught.value.slower == 2.25


def test_the_start_is_not_looked_at(campaign: SyntheticCampaign) -> None:
    events = on_a_host_that_carries(campaign, 0.1)
    begun_s = min(event.data["reset_begin"]["wall_s"] for event in events if event.kind == "episode")
    check_speed(campaign.spec, events, begun_s + LOOK_AFTER_S - 1, warm=False)
    check_speed(campaign.spec, [], begun_s + 1e6, warm=True)
    with pytest.raises(TooFast):
        check_speed(campaign.spec, events, begun_s + LOOK_AFTER_S + 1, warm=False)
    with pytest.raises(TooFast):
        check_speed(campaign.spec, events, begun_s + LOOK_AFTER_S - 1, warm=True)


def test_it_comes_to_an_end(campaign: SyntheticCampaign) -> None:
    speed, tries = first_speed(1), 0
    while speed > SLOWEST:
        assert slower(0.95 * speed) < speed
        speed, tries = slower(0.95 * speed), tries + 1
    assert tries < 20
    spec = campaign.spec.model_copy(update={"speed": SLOWEST})
    check_speed(spec, on_a_host_that_carries(campaign, 0.01), START_S + 800, warm=True)


def test_every_number_of_stations_has_a_speed() -> None:
    assert [first_speed(n) for n in (1, 2, 3, 8, 9, 16, 17, 64)] == [8, 8, 3, 3, 1.5, 1.5, 0.5, 0.5]
    assert SPEEDS[-1][0] == 64, "as many as a benchmark has"
