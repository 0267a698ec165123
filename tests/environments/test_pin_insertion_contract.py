"""Pin insertion keeps the contract of environments, on the real world in process."""

from __future__ import annotations

from environments import make, make_verifier
from nightlab.contracts import Environment, Verifier
from nightlab.testing.environment import EnvironmentContract
from nightlab.testing.fake_station import FakeStation
from robots.profiles import load_profile
from robots.worlds import make_world


class TestPinInsertion(EnvironmentContract):
    teleports = False
    seeds = (0, 1)

    def make_environment(self) -> Environment:
        return make("pin_insertion")

    def make_station(self) -> FakeStation:
        return FakeStation(make_world("yam_bench", load_profile("nominal", "yam_bench"), 7))

    def make_verifier(self) -> Verifier:
        return make_verifier("pin_insertion")
