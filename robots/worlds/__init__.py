"""Physics behind the `simulated` driver. One line per world."""

from __future__ import annotations

from nightlab.contracts import World
from nightlab.errors import UsageError
from robots.profiles import PushTProfile

WORLDS = ("push_t",)


def make_world(name: str, profile: PushTProfile, station_seed: int) -> World:
    """A fresh world of that name, sampled from the profile by the station seed.

    Raises:
        UsageError: no such world.
    """
    if name == "push_t":
        from robots.worlds.push_t import PushTWorld

        return PushTWorld(profile, station_seed)
    raise UsageError.unknown("world", name, WORLDS, "--world push_t")
