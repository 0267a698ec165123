"""Push-T keeps the contract of environments, on the real world in process."""

from __future__ import annotations

import pytest

import environments
from environments import make, make_verifier, names
from nightlab.contracts import Environment, Verifier
from nightlab.errors import UsageError
from nightlab.testing.environment import EnvironmentContract
from nightlab.testing.fake_station import FakeStation
from robots.profiles import load_profile
from robots.worlds import make_world


class TestPushT(EnvironmentContract):
    def make_environment(self) -> Environment:
        return make("push_t")

    def make_station(self) -> FakeStation:
        return FakeStation(make_world("push_t", load_profile("nominal"), 7))

    def make_verifier(self) -> Verifier:
        return make_verifier("push_t")


def test_an_unknown_environment_names_those_that_exist() -> None:
    with pytest.raises(
        UsageError, match=r"unknown environment 'push_x'; there are: .*push_t.*\. Try: nightlab environment list"
    ):
        make("push_x")


def test_the_registry_loads_nothing_by_itself() -> None:
    assert names() == ["pin_insertion", "push_t"]
    assert all(":" not in package for package in environments.REGISTRY.values())
