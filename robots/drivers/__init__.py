"""Drivers: what a station server commands. One line per driver of an arm or a cell, one per driver of a camera.

A driver's module is imported only when `station.yaml` names it. Its factory gets the driver's own section, and of an arm
the whole file:

    def make(config: Mapping[str, Any], cell: CellConfig) -> Driver                        # DRIVERS
    def open_camera(key: str, config: Mapping[str, Any], folder: Path) -> Camera           # CAMERAS

`folder` is where station.yaml lies: a relative path starts there (for an arm: `cell.path`). A factory raises UsageError
for settings that it does not know, StationError with the fix where hardware or a package is missing. Cameras of
`station.yaml` are put beside an arm by `robots/drivers/with_cameras.py`: a driver of an arm needs none. Installed
packages add drivers by the entry-point groups `nightlab.drivers` and `nightlab.cameras`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module, metadata
from typing import TYPE_CHECKING, Any, cast

from nightlab.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from nightlab.records import CellConfig
    from robots.driver import Camera, Driver

DRIVERS: dict[str, str] = {
    "echo": "robots.drivers.echo:make",
    "lerobot": "robots.drivers.lerobot_robot:make",
    "simulated": "robots.drivers.simulated:make",
    "so101": "robots.drivers.so101:make",
    "so101_push_t": "robots.drivers.so101_push_t:make",
    "yam": "robots.drivers.yam:make",
}
"""`driver:` of station.yaml → its factory."""

CAMERAS: dict[str, str] = {
    "opencv": "robots.drivers.opencv:open_camera",
    "realsense": "robots.drivers.realsense:open_camera",
}
"""`driver:` of a camera in station.yaml → its factory."""


def make_driver(cell: CellConfig) -> Driver:
    """The driver that `station.yaml` asks for, with its cameras.

    Raises:
        UsageError: unknown driver or camera driver, or settings that it does not take.
        StationError: hardware or a package that it needs is not there.
    """
    from robots.drivers.with_cameras import with_cameras

    factory = cast(
        "Callable[[Mapping[str, Any], CellConfig], Driver]", _find("driver", cell.driver, DRIVERS, "nightlab.drivers")
    )
    driver = factory(cell.config, cell)
    try:
        return with_cameras(driver, open_cameras(cell))
    except BaseException:  # no arm stays under power because a camera is missing
        close = getattr(driver, "close", None)
        if close is not None:
            close()
        raise


def check_names(cell: CellConfig) -> None:
    """Whether the drivers of a `station.yaml` exist; opens nothing. Raises UsageError."""
    _find("driver", cell.driver, DRIVERS, "nightlab.drivers")
    for camera in cell.cameras.values():
        _find("camera driver", camera.driver, CAMERAS, "nightlab.cameras")


def open_cameras(cell: CellConfig) -> dict[str, Camera]:
    """The cameras that `station.yaml` asks for, by key; none stays open if one cannot be opened."""
    opened: dict[str, Camera] = {}
    try:
        for key, camera in cell.cameras.items():
            factory = cast(
                "Callable[[str, Mapping[str, Any], Path], Camera]",
                _find("camera driver", camera.driver, CAMERAS, "nightlab.cameras"),
            )
            opened[key] = factory(key, camera.config, cell.folder)
    except BaseException:
        for one in opened.values():
            one.close()
        raise
    return opened


def _find(what: str, name: str, known: Mapping[str, str], group: str) -> Callable[..., Any]:
    outside = {point.name: point.value for point in metadata.entry_points(group=group)}
    place = known.get(name) or outside.get(name)
    if place is None:
        raise UsageError.unknown(what, name, {*known, *outside}, "nightlab station check station.yaml")
    module, _, function = place.partition(":")
    return cast("Callable[..., Any]", getattr(import_module(module), function))
