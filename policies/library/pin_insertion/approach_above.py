"""First above the hole, come to rest there, then straight down until the plate is felt."""

from __future__ import annotations

import numpy as np

from policies.library.pin_insertion.kit import DT_S, Array, Memory, Params, View

NEAR_M = 0.0015
WAIT_TICKS = 60
"""A hand that does not get near within so many ticks goes down all the same."""
DEEP_M = 0.004
"""So far below the mouth the descent ends without a touch."""


class Above:
    """Hover `hover_m` above the mouth, rest `settle_s`, go down at `descend_m_s`."""

    def __init__(self, hover_m: float, settle_s: float, descend_m_s: float) -> None:
        self._hover_m, self._settle_ticks, self._step_m = hover_m, settle_s / DT_S, descend_m_s * DT_S
        self.reset()

    def reset(self) -> None:
        self._rest = 0.0
        self._height: float | None = None
        self._waited = 0

    def way(self, view: View, memory: Memory) -> tuple[Array, bool]:
        mouth = view.hole
        goal = mouth + np.array([0.0, 0.0, self._hover_m])
        if self._height is None:
            away = float(np.linalg.norm(view.tip[:2] - mouth[:2]))
            self._waited += 1
            near = abs(float(view.tip[2] - goal[2])) < 2 * NEAR_M and away < NEAR_M
            self._rest += near
            if self._rest > self._settle_ticks or self._waited > WAIT_TICKS + self._settle_ticks:
                self._height = float(goal[2])
            return goal, view.touching
        self._height -= self._step_m
        goal[2] = self._height
        return goal, view.touching or self._height < mouth[2] - DEEP_M


def make(params: Params) -> Above:
    """The module with its knobs set."""
    return Above(params.get("hover_m", 0.006), params.get("settle_s", 0.4), params.get("descend_m_s", 0.012))
