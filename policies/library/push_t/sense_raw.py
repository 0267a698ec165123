"""Believe the latest observation."""

from __future__ import annotations

from policies.library.push_t.kit import Params, Point, Pose, View


class Raw:
    """The view is the sensor's latest word."""

    def reset(self) -> None:
        """Nothing to forget."""

    def look(self, agent: Point, pose: Pose, *, touching: bool) -> View:
        return View(agent, pose)


def make(params: Params) -> Raw:
    """The module with its knobs set."""
    return Raw()
