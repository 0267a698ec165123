"""The contract suite on touch_spot: pytest examples/touch_spot/tests (installed, see the README)."""

from environments import make, make_verifier
from nightlab.contracts import Environment, Verifier
from nightlab.testing.environment import EnvironmentContract
from nightlab.testing.fake_station import FakeStation
from robots.profiles import load_profile
from robots.worlds import make_world


class TestTouchSpot(EnvironmentContract):
    def make_environment(self) -> Environment:
        return make("touch_spot")

    def make_station(self) -> FakeStation:
        return FakeStation(make_world("spot_plate", load_profile("nominal", "spot_plate"), 7))

    def make_verifier(self) -> Verifier:
        return make_verifier("touch_spot")
