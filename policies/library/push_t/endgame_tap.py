"""Close to the goal, only tap: strokes of a few pixels, then look again."""

from __future__ import annotations

from policies.library.push_t.kit import Grid, Params, View, pose_error


class Tap:
    """Within 40 px of the goal no stroke is longer than `tap_px`."""

    def __init__(self, tap_px: float) -> None:
        self._coarse = Grid()
        self._tap = Grid(15.0, tap_px, tap_px, 4.0)

    def grid(self, view: View) -> Grid:
        return self._tap if pose_error(view.pose) < 40.0 else self._coarse

    def verdict(self, view: View) -> str:
        return "go"


def make(params: Params) -> Tap:
    """The module with its knobs set."""
    return Tap(params.get("tap_px", 3.0))
