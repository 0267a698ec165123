from __future__ import annotations

import time

import pytest

from robots.clock import StationClock


@pytest.mark.parametrize(("speed", "factor"), [(10.0, 10.0), (1.0, 1.0), (0.0, 1.0)])
def test_idle_time_runs_speed_times_wall(speed: float, factor: float) -> None:
    clock = StationClock(speed, 0.1)
    begin = clock.now()
    time.sleep(0.05)
    end = clock.now()
    assert end.station_s - begin.station_s == pytest.approx(factor * (end.wall_s - begin.wall_s), rel=1e-3)


def test_control_counts_periods_and_waits_for_the_action() -> None:
    clock = StationClock(10.0, 0.1)
    clock.begin_control()
    begin = clock.now().station_s
    time.sleep(0.03)
    waiting = clock.now().station_s
    assert waiting - begin == pytest.approx(0.1, abs=0.005), "stretched: one period at most"
    assert clock.tick().station_s - begin == pytest.approx(0.1, abs=0.005)
    assert clock.tick().station_s - begin == pytest.approx(0.2, abs=0.005)


def test_the_station_clock_never_steps_back() -> None:
    clock, seen = StationClock(10.0, 0.1), []
    for _ in range(20):
        seen.append(clock.now().station_s)
        clock.begin_control()
        seen.append(clock.now().station_s)
        clock.begin_control()
        time.sleep(0.001)
        seen += [clock.tick().station_s, clock.now().station_s]
        clock.end_control()
        seen.append(clock.now().station_s)
        clock.end_control()
    assert seen == sorted(seen)


def test_both_clocks_start_at_the_unix_time() -> None:
    now = StationClock(10.0, 0.1).now()
    assert now.wall_s == pytest.approx(time.time(), abs=1.0)
    assert now.station_s == pytest.approx(time.time(), abs=1.0)
