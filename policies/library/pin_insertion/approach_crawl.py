"""Straight to the mouth, so slowly that nothing can go wrong."""

from __future__ import annotations

from policies.library.pin_insertion.kit import DT_S, Array, Memory, Params, View, step_towards


class Crawl:
    """The goal moves at `crawl_m_s` from the tip to the mouth."""

    def __init__(self, crawl_m_s: float) -> None:
        self._step_m = crawl_m_s * DT_S
        self.reset()

    def reset(self) -> None:
        self._goal: Array | None = None

    def way(self, view: View, memory: Memory) -> tuple[Array, bool]:
        if self._goal is None:
            self._goal = view.tip.copy()
        self._goal = step_towards(self._goal, view.hole, self._step_m)
        there = bool((self._goal == view.hole).all())
        return self._goal.copy(), view.touching or (there and abs(float(view.tip[2] - view.hole[2])) < 0.001)


def make(params: Params) -> Crawl:
    """The module with its knobs set."""
    return Crawl(params.get("crawl_m_s", 0.006))
