"""Cameras beside an arm: a driver whose pictures come from `robots.driver.Camera`s, the rest from the arm's driver."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from nightlab.errors import StationError, UsageError
from nightlab.records import StationSpec
from robots.driver import Camera, Driver
from robots.drivers.forwarding import ForwardingDriver


def with_cameras(driver: Driver, cameras: Mapping[str, Camera]) -> Driver:
    """The driver itself where there are no cameras to add."""
    return WithCameras(driver, cameras) if cameras else driver


class WithCameras(ForwardingDriver):
    """Implements `robots.driver.Driver`.

    Raises:
        UsageError: a camera has the key of one that the driver brings itself.
    """

    def __init__(self, driver: Driver, cameras: Mapping[str, Camera]) -> None:
        super().__init__(driver)
        self._cameras = dict(cameras)
        own = driver.spec()
        twice = {camera.key for camera in own.cameras} & set(cameras)
        if twice:
            raise UsageError(f"camera {', '.join(sorted(twice))}: the driver brings one of that name; choose another")
        self._spec = own.model_copy(
            update={"cameras": (*own.cameras, *(camera.spec() for camera in self._cameras.values()))}
        )

    def spec(self) -> StationSpec:
        return self._spec

    def render(self, camera: str, size_px: int | None = None) -> NDArray[np.uint8]:
        """Raises StationError for an unknown camera, naming those there are."""
        found = self._cameras.get(camera)
        if found is not None:
            return found.render(size_px)
        known = [spec.key for spec in self._spec.cameras]
        if camera not in known:
            raise StationError(f"no camera {camera!r} at this station; there is: {', '.join(known) or 'none'}")
        return self.inner.render(camera, size_px)

    def render_depth(self, camera: str) -> NDArray[np.float32] | None:
        found = self._cameras.get(camera)
        return self.inner.render_depth(camera) if found is None else found.render_depth()

    def close(self) -> None:
        """Close the cameras, then the arm."""
        for camera in self._cameras.values():
            camera.close()
        super().close()
