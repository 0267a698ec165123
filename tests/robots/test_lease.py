from __future__ import annotations

import threading
import time

import pytest

from nightlab.errors import LeaseError
from nightlab.records import LimitsSpec
from robots.lease import Grant, LeaseTable

LIMITS = LimitsSpec(action_low={}, action_high={})


class Time:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def take(table: LeaseTable, name: str, ttl_s: float = 5.0, wait_s: float = 0.0) -> Grant | None:
    return table.acquire(f"ticket-{name}", name, LIMITS, ttl_s, wait_s)


def test_one_holder_and_a_queue() -> None:
    table = LeaseTable(clock=Time())
    first = take(table, "a")
    assert first is not None
    assert (take(table, "b"), take(table, "c")) == (None, None)
    assert (table.holder, table.waiting, table.ahead("ticket-c")) == ("a", 2, 1)
    table.release(first.token)
    assert take(table, "c") is None, "b came first"
    second = take(table, "b")
    assert second is not None
    assert second.token != first.token


def test_a_lost_reply_is_given_again() -> None:
    table = LeaseTable(clock=Time())
    assert take(table, "a") is take(table, "a")


def test_a_waiter_that_stops_asking_loses_its_place() -> None:
    clock = Time()
    table = LeaseTable(clock=clock)
    first = take(table, "a")
    assert first is not None
    take(table, "b")
    clock.now_s += 2.9
    take(table, "c")
    table.release(first.token)
    assert take(table, "c") is None
    clock.now_s += 0.2
    assert take(table, "c") is not None, "b has not asked for 3 s"


def test_every_check_extends_the_lease_and_silence_ends_it() -> None:
    clock, lapsed = Time(), []
    table = LeaseTable(clock=clock, on_lapse=lapsed.append)
    grant = take(table, "a", ttl_s=1.0)
    assert grant is not None
    for _ in range(5):
        clock.now_s += 0.9
        table.check(grant.token)
    assert table.expire() is None
    clock.now_s += 1.0
    with pytest.raises(
        LeaseError, match="this token holds no lease: it lapsed, was released, or the station was restarted"
    ):
        table.check(grant.token)
    assert table.expire() is grant
    assert lapsed == [grant]
    assert (table.lapsed, table.holder) == (1, "")
    assert take(table, "b") is not None


def test_a_wrong_token_says_who_holds_the_station() -> None:
    table = LeaseTable(clock=Time())
    take(table, "I17")
    with pytest.raises(LeaseError, match="the station is held by 'I17'"):
        table.check("nonsense")
    table.release("nonsense")
    assert table.holder == "I17"


@pytest.mark.parametrize("ttl_s", [0.1, 61.0, float("nan")])
def test_a_ttl_has_bounds(ttl_s: float) -> None:
    with pytest.raises(LeaseError, match=r"allowed: 0.2 to 60 s"):
        take(LeaseTable(), "a", ttl_s=ttl_s)


def test_waiters_are_served_in_order_as_soon_as_it_is_free() -> None:
    table, order = LeaseTable(), []

    def wait(name: str) -> None:
        grant = take(table, name, wait_s=5.0)
        assert grant is not None
        order.append(name)
        table.release(grant.token)

    first = take(table, "first")
    assert first is not None
    threads = []
    for name in ("b", "c", "d"):
        threads.append(threading.Thread(target=wait, args=(name,)))
        threads[-1].start()
        time.sleep(0.05)
    begin = time.monotonic()
    table.release(first.token)
    for thread in threads:
        thread.join()
    assert order == ["b", "c", "d"]
    assert time.monotonic() - begin < 0.5


def test_a_waiter_that_died_gives_up_its_place_at_once() -> None:
    table = LeaseTable()
    first = take(table, "a")
    assert first is not None
    assert table.acquire("dead", "dead", LIMITS, 5.0, 5.0, alive=lambda: False) is None
    table.release(first.token)
    assert take(table, "b") is not None
