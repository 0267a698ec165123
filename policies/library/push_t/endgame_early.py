"""Say done as soon as the T covers most of the goal: further pushes can only spoil it."""

from __future__ import annotations

from nightlab import geometry as g
from policies.library.push_t.kit import Grid, Params, View


class Early:
    """Done at a coverage of `done_at`."""

    def __init__(self, done_at: float) -> None:
        self._done_at = done_at

    def grid(self, view: View) -> Grid:
        return Grid()

    def verdict(self, view: View) -> str:
        return "done" if g.coverage(view.pose) >= self._done_at else "go"


def make(params: Params) -> Early:
    """The module with its knobs set."""
    return Early(params.get("done_at", 0.85))
