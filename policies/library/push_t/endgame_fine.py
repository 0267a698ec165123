"""Close to the goal, consider many more contacts and short strokes, and push gently; hold still when it fits."""

from __future__ import annotations

from nightlab import geometry as g
from policies.library.push_t.kit import Grid, Params, View, pose_error


class Fine:
    """Within `fine_below_px` of the goal the grid is fine; at a coverage of `stop_at` the pusher holds."""

    def __init__(self, below_px: float, spacing_px: float, push_step_px: float, stop_at: float) -> None:
        self._below_px = below_px
        self._stop_at = stop_at
        self._coarse = Grid()
        self._fine = Grid(spacing_px, 1.0, 45.0, push_step_px)

    def grid(self, view: View) -> Grid:
        return self._fine if pose_error(view.pose) < self._below_px else self._coarse

    def verdict(self, view: View) -> str:
        near = pose_error(view.pose) < 8.0
        return "hold" if near and g.coverage(view.pose) >= self._stop_at else "go"


def make(params: Params) -> Fine:
    """The module with its knobs set."""
    return Fine(
        params.get("fine_below_px", 25.0),
        params.get("fine_spacing_px", 6.0),
        params.get("fine_step_px", 6.0),
        params.get("stop_at", 0.975),
    )
