"""Physics behind the `simulated` driver. One line per world; worlds from elsewhere: robots/outside.py."""

from __future__ import annotations

from nightlab.contracts import World
from nightlab.errors import UsageError
from robots import outside
from robots.profiles import Profile, PushTProfile, YamBenchProfile

WORLDS = ("push_t", "yam_bench")


def make_world(name: str, profile: Profile, station_seed: int) -> World:
    """A fresh world of that name, sampled from the profile by the station seed.

    Raises:
        UsageError: no such world, or a profile of another one.
    """
    if name == "push_t" and isinstance(profile, PushTProfile):
        from robots.worlds.push_t import PushTWorld

        return PushTWorld(profile, station_seed)
    if name == "yam_bench" and isinstance(profile, YamBenchProfile):
        from robots.worlds.yam_bench import YamBenchWorld

        return YamBenchWorld(profile, station_seed)
    if name in WORLDS:
        raise UsageError(
            f"world {name!r} got a {type(profile).__name__} ({profile.name!r}). Try: load_profile({profile.name!r}, {name!r})"
        )
    found = outside.find(name)
    if found is None:
        raise UsageError.unknown("world", name, (*WORLDS, *outside.names()), "--world push_t")
    return found.make_world(profile, station_seed)
