"""A driver that passes every call on to another one: what a wrapper changes it overrides."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from nightlab.contracts import Values
from nightlab.records import StationSpec
from robots.driver import Driver, Primitive


class ForwardingDriver:
    """Implements `robots.driver.Driver`."""

    def __init__(self, inner: Driver) -> None:
        self.inner = inner

    def spec(self) -> StationSpec:
        return self.inner.spec()

    def step(self, action: Values) -> None:
        self.inner.step(action)

    def observe(self) -> dict[str, NDArray[np.float64]]:
        return self.inner.observe()

    def hold_action(self) -> dict[str, NDArray[np.float64]]:
        return self.inner.hold_action()

    def joint_states(self) -> dict[str, NDArray[np.float64]]:
        return self.inner.joint_states()

    def render(self, camera: str, size_px: int | None = None) -> NDArray[np.uint8]:
        return self.inner.render(camera, size_px)

    def render_depth(self, camera: str) -> NDArray[np.float32] | None:
        return self.inner.render_depth(camera)

    def primitive(self, request: Primitive) -> Iterator[Values]:
        return self.inner.primitive(request)

    def stop(self, reason: str) -> None:
        self.inner.stop(reason)

    def clear(self) -> None:
        self.inner.clear()

    @property
    def grippers(self) -> tuple[str, ...] | None:
        """Arms that have a gripper; None: the inner driver does not say."""
        known: tuple[str, ...] | None = getattr(self.inner, "grippers", None)
        return known

    def close(self) -> None:
        """Close the inner driver, if it can be closed."""
        close = getattr(self.inner, "close", None)
        if close is not None:
            close()
