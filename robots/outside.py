"""Worlds from outside this project: installed modules that the entry-point group `nightlab.worlds` names.

Such a module has `PROFILE` (a subclass of robots.profiles.Profile), `PROFILES` (the folder of its YAML files) and
`make_world(profile, station_seed) -> World`. The world may have `primitive(request)`, the actions of a station's
primitive one per control period (see robots/driver.py).
"""

from __future__ import annotations

from importlib import import_module, metadata
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

from nightlab.contracts import World
from nightlab.errors import UsageError

if TYPE_CHECKING:
    from robots.profiles import Profile

ENTRY_POINTS = "nightlab.worlds"


class OutsideWorld(Protocol):
    """What the module of a world offers."""

    PROFILE: type[Profile]
    PROFILES: Path

    def make_world(self, profile: Profile, station_seed: int) -> World:
        """A fresh world, sampled from the profile by the station seed."""
        ...


def names() -> list[str]:
    """Names of the installed worlds."""
    return sorted(point.name for point in metadata.entry_points(group=ENTRY_POINTS))


def find(name: str) -> OutsideWorld | None:
    """An installed world, or None if there is none of that name.

    Raises:
        UsageError: its module cannot be imported or lacks a part.
    """
    for point in metadata.entry_points(group=ENTRY_POINTS, name=name):
        try:
            module = import_module(point.value)
        except ImportError as error:
            raise UsageError(
                f"world {name!r} is installed as {point.value!r}, which cannot be imported ({error}); install it again"
            ) from error
        lacking = [part for part in ("PROFILE", "PROFILES", "make_world") if not hasattr(module, part)]
        if lacking:
            raise UsageError(f"world {name!r} ({point.value}) lacks {', '.join(lacking)}; see docs/new_environment.md")
        return cast("OutsideWorld", module)
    return None
