"""The discrete-event model of a fleet against closed forms, and the law that it is summed up by."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from commands.main import app
from data.fleet_model import PUBLISHED, PUBLISHED_MRU, FleetTimes, along, forecast, simulate, speed_up_alpha, window_of


@pytest.mark.parametrize(("stations", "cycle_s"), [(1, 30 + 5 + 25), (4, 35 + 8 + 25), (8, 40 + 12 + 25)])
def test_one_after_the_other_a_robot_is_busy_for_its_share_of_the_cycle(stations: int, cycle_s: float) -> None:
    found = simulate(PUBLISHED, stations)
    assert found.mru == pytest.approx(25 / cycle_s, abs=0.01)
    assert abs(found.mru - PUBLISHED_MRU[stations]) < 0.09, "within the spread of the published runs"


def test_with_constant_times_the_window_keeps_every_robot_busy() -> None:
    times = FleetTimes(think_s=400, train_s=100, trial_s=100)
    assert window_of(times, 1) == 7
    for stations in (1, 8):
        assert simulate(times, stations, horizon_s=20_000, warm_up_s=2000).mru > 0.97
    assert simulate(replace(times, window=-1), 1, horizon_s=20_000, warm_up_s=2000).mru == pytest.approx(
        1 / 6, abs=0.01
    )


def test_filler_work_fills_what_uneven_thinking_leaves() -> None:
    times = FleetTimes(think_s=400, think_sigma=0.5, train_s=100, trial_s=100, trial_sigma=0.3, gap_s=1)
    (idle,) = forecast(times, [1], runs=10, horizon_s=10_000, warm_up_s=1000)
    (filled,) = forecast(replace(times, episode_s=10), [1], runs=10, horizon_s=10_000, warm_up_s=1000)
    assert 0.75 < idle.mru < 0.97
    assert filled.mru > 0.98
    assert filled.useful_share == pytest.approx(idle.mru / filled.mru, abs=0.06), "filler is not counted as useful here"
    (worth,) = forecast(replace(times, episode_s=10, filler_useful=1.0), [1], runs=10, horizon_s=10_000, warm_up_s=1000)
    assert worth.useful_share - filled.useful_share == pytest.approx(1 - idle.mru / filled.mru, abs=0.03), "here it is"


def test_given_the_times_of_one_run_it_replays_that_run() -> None:
    mean = FleetTimes(think_s=100, think_sigma=0.5, trial_s=50, trial_sigma=0.5, window=-1)
    told = replace(mean, prepared_s=(80.0, 140.0, 1000.0), tried_s=(30.0, 60.0))
    runs = [simulate(told, 1, warm_up_s=-1, horizon_s=270, seed=seed) for seed in range(5)]
    assert {(one.warm_up_s, one.mru) for one in runs} == {(80.0, (30 + 60) / 270)}, "nothing is drawn"
    filler = replace(told, window=0, episode_s=10.0, filler_useful=0.25)
    found = simulate(replace(filler, prepared_s=(80.0, 140.0, *[1e6] * 9)), 1, warm_up_s=-1, horizon_s=200)
    assert found.mru == pytest.approx(1.0)
    assert found.useful_share == pytest.approx((30 + 60 + 0.25 * (200 - 90)) / 200), "trials, and a quarter of the rest"


def test_the_warm_up_lasts_until_every_robot_has_begun_a_trial() -> None:
    times = FleetTimes(think_s=100, trial_s=100, window=-1)
    found = simulate(times, 3, warm_up_s=-1, horizon_s=250)
    assert (found.warm_up_s, found.mru) == (100, 150 / 250)
    assert simulate(times, 3, warm_up_s=50, horizon_s=250).mru == 100 / 250
    slow = FleetTimes(think_s=100, think_sigma=2.0, trial_s=100, window=-1)
    assert max(simulate(slow, 8, warm_up_s=-1, horizon_s=400, seed=seed).warm_up_s for seed in range(9)) == 400, (
        "not longer than twice an idea's whole time"
    )


def test_a_forecast_says_how_far_single_runs_lie_apart() -> None:
    times = FleetTimes(think_s=400, think_sigma=0.5, trial_s=100, trial_sigma=0.3, window=-1)
    short, long = (forecast(times, [1], runs=40, horizon_s=h, warm_up_s=-1)[0] for h in (2_000, 50_000))
    singles = [simulate(times, 1, horizon_s=2_000, warm_up_s=-1, seed=seed).mru for seed in range(40)]
    low, high = short.mru_range
    assert sum(low <= one <= high for one in singles) == 36
    assert low < short.mru < high
    assert long.mru_range[1] - long.mru_range[0] < (high - low) / 3
    assert long.useful_share_range == (1.0, 1.0), "nobody fills the gaps"


def test_many_robots_succeed_sooner_but_not_so_much_sooner_and_pay_in_tokens() -> None:
    one, eight = forecast(PUBLISHED, [1, 8], runs=15)
    assert one.time_to_success_s is not None
    assert eight.time_to_success_s is not None
    assert one.tokens_to_success is not None
    assert eight.tokens_to_success is not None
    assert pytest.approx(one.time_to_success_s, rel=0.35) == 4.5 * 3600
    assert 1.5 < one.time_to_success_s / eight.time_to_success_s < 8
    assert eight.tokens_to_success > one.tokens_to_success


def test_the_law_gives_back_its_own_alpha() -> None:
    assert speed_up_alpha({n: n / (1 + 0.3 * (n - 1)) for n in (1, 4, 8, 32)}) == pytest.approx(0.3)
    assert speed_up_alpha({1: 1.0}) == 0.0


def test_tables_by_fleet_size() -> None:
    table = {1: 5.0, 4: 8.0, 8: 12.0}
    assert [along(table, n) for n in (1, 2, 4, 6, 8, 16)] == [5.0, 6.0, 8.0, 10.0, 12.0, 20.0]
    assert (along({}, 3), along({1: 2.0}, 9)) == (0.0, 2.0)


def call(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as caught:
        app(["simulate-fleet", *words])
    out, err = capsys.readouterr()
    return int(caught.value.code or 0), out, err


def test_the_command_prints_every_size_and_the_law(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = call(capsys, "--preset", "published", "--sizes", "1,8", "--runs", "3", "--json")
    found = json.loads(out)
    assert code == 0
    assert [row["stations"] for row in found["fleets"]] == [1, 8]
    assert found["fleets"][0]["published_mru"] == PUBLISHED_MRU[1]
    assert found["alpha"] is not None
    code, out, _ = call(
        capsys, "--think", "lognormal:40:0.5", "--train-s", "10", "--trial-s", "10", "--sizes", "4", "--runs", "2",
        "--horizon-s", "3000", "--warm-up-s", "200", "--json",
    )  # fmt: skip
    (row,) = json.loads(out)["fleets"]
    assert row["window"] == 8
    assert row["mru"] > 0.85


@pytest.mark.parametrize(
    "words",
    [
        ("--filler-useful", "2"),
        ("--sizes", "0"),
        ("--talk", "x"),
        ("--preset", "x"),
        ("--think", "-1"),
        ("--runs", "0"),
        ("--tried-s", "12,x"),
        ("--prepared-s", "nan"),
    ],
)
def test_bad_input_is_one_line(words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = call(capsys, *words)
    assert code == 2
    assert err.startswith("nightlab: ")
    assert len(err.strip().splitlines()) == 1
